"""Start processes so that none outlives the command that started it.

On Linux this process adopts what its children leave behind, daemons included, so that `descendants`
finds everything that was started, wherever it hung in the tree. A mark in the environment would not
do: Redis writes its title over it.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType

PR_SET_CHILD_SUBREAPER = 36
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


_started: dict[int, subprocess.Popen[bytes]] = {}


class StoppedError(BaseException):
    """A signal asked the command to stop. Like `KeyboardInterrupt`, nobody should swallow it."""


@contextmanager
def in_charge() -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into `StoppedError`; adopt orphans; end all at last.

    Signals after the first are ignored: an impatient second Ctrl-C must not cut the clean-up short.
    """

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's interface
        for name in STOP_SIGNALS:
            signal.signal(name, signal.SIG_IGN)
        raise StoppedError(signal.Signals(number).name)

    adopt_orphans()
    previous = {name: signal.signal(name, stop) for name in STOP_SIGNALS}
    try:
        yield
    finally:
        end_all()
        for name, handler in previous.items():
            signal.signal(name, handler)


def start(  # noqa: PLR0913 - all but two have defaults
    argv: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    output: Path | None = None,
    piped: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own: Ctrl-C reaches us, and we stop it in order.

    Args:
        argv: the command.
        cwd: where it runs.
        env: added to our environment.
        user: the account it runs as, if not ours.
        output: a file for what it prints; by default it prints to our output.
        piped: what it prints can be read from the process instead.
    """
    with output.open("wb") if output else nullcontext(subprocess.PIPE if piped else None) as sink:
        process = subprocess.Popen(
            [str(part) for part in argv],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            user=user,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT if sink else None,
            start_new_session=True,
        )
    _started[process.pid] = process
    return process


def wait(process: subprocess.Popen[bytes], seconds: float = math.inf) -> int | None:
    """Wait for a process, at most `seconds`; return its exit code, or None while it runs.

    Meanwhile adopted orphans that ended are buried, as the system's first process would: until then
    they count as alive, and whoever waits for one to go waits for ever.
    """
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        _bury()
        time.sleep(0.02)
    return process.returncode


def _bury() -> None:
    """Take note of the processes below us that have ended; ours keep their exit code."""
    with suppress(ChildProcessError):
        while sys.platform == "linux":
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return
            ours = _started.pop(ended.si_pid, None)
            if ours is None or ours.poll() is None:
                os.waitpid(ended.si_pid, os.WNOHANG)


def run(
    argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None
) -> tuple[int, list[str]]:
    """Run a command to its end, show what it prints, and return its exit code and its lines.

    When we are stopped, it is stopped too.
    """
    process = start(argv, cwd=cwd, env=env, piped=True)
    lines: list[str] = []
    # Not waited for without a bound: a daemon the command left behind may hold the pipe open.
    reader = threading.Thread(target=_show, args=(process, lines), daemon=True)
    reader.start()
    try:
        code = wait(process)
        reader.join(timeout=2.0)
        return code or 0, lines
    finally:
        stop(process, signal.SIGINT)


def _show(process: subprocess.Popen[bytes], lines: list[str]) -> None:
    """Print each line a process prints, and keep it."""
    with process.stdout or nullcontext(()) as printed:
        for raw in printed:
            lines.append(raw.decode(errors="replace").rstrip("\n"))
            sys.stdout.write(f"{lines[-1]}\n")
            sys.stdout.flush()


def stop(
    process: subprocess.Popen[bytes],
    how: signal.Signals = signal.SIGTERM,
    grace: float = 15.0,
) -> None:
    """Ask a process and its group to end; after `grace` seconds make it.

    Only the process itself gets `how` first: it is the one that knows how to stop its children.
    """
    if process.poll() is None:
        process.send_signal(how)
        wait(process, grace)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def adopt_orphans() -> None:
    """Become the parent of every process whose own parent ends (prctl(2), Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def descendants() -> dict[int, str]:
    """Return pid and command of every living process below us."""
    _bury()
    table = _table_of_proc() if Path("/proc/self/stat").exists() else _table_of_ps()
    below: dict[int, str] = {}
    parents = {os.getpid()}
    while parents:
        found = {pid: command for pid, (parent, command) in table.items() if parent in parents}
        parents = set(found) - set(below)
        below |= found
    return {pid: command for pid, command in below.items() if command}


def _table_of_proc() -> dict[int, tuple[int, str]]:
    """Return parent and command by pid; the command of a zombie is empty."""
    table = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile
            parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
            words = (folder / "cmdline").read_bytes().split(b"\0")
            table[int(folder.name)] = int(parent), b" ".join(words).decode(errors="replace").strip()
    return table


def _table_of_ps() -> dict[int, tuple[int, str]]:
    """Do the same where there is no /proc, as on macOS. `ps` itself is left out."""
    ps = subprocess.Popen(["ps", "-axo", "pid=,ppid=,command="], stdout=subprocess.PIPE, text=True)
    rows = [line.split(maxsplit=2) for line in ps.communicate()[0].splitlines()]
    return {int(row[0]): (int(row[1]), row[2]) for row in rows if int(row[0]) != ps.pid}


def wait_until_gone(seconds: float) -> dict[int, str]:
    """Wait until nothing is left below us; return what still is after `seconds`."""
    deadline = time.monotonic() + seconds
    while (left := descendants()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def end_all() -> None:
    """End every process below us: asked first, made to after five seconds."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        for pid in descendants():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, how)
        if not wait_until_gone(5.0):
            return
