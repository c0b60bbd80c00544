"""One pool for each machine: of all API processes of a service, one has it.

Each may start processes for as many processors as there are; together they would start too many.
The kernel gives the lock back when its holder dies, and another API process takes over.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from loguru import logger


class Ownership:
    """A lock on a file of this machine; in a container, of this container."""

    def __init__(self, service: str) -> None:
        """Name the service; processes that share queue and code name the same."""
        who = os.getuid() if hasattr(os, "getuid") else 0
        name = hashlib.sha256(f"{who}:{Path.cwd()}:{service}".encode()).hexdigest()[:24]
        self._path = Path(tempfile.gettempdir()) / f"compute-{name}.lock"
        self._file: int | None = None

    def take(self) -> bool:
        """Return whether the pool belongs to this process, now or already."""
        if self._file is not None:
            return True
        try:
            import fcntl  # noqa: PLC0415 - Windows has none: there each process has a pool
        except ImportError:
            return True
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            file = os.open(self._path, flags, 0o600)
        except OSError as error:
            return self._not_to_be_had(error)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        except OSError as error:  # a file system without locks
            os.close(file)
            return self._not_to_be_had(error)
        self._file = file
        return True

    def _not_to_be_had(self, error: OSError) -> bool:
        logger.warning("{} can't be locked ({}): this process has a pool", self._path, error)
        return True

    def give_back(self) -> None:
        """Let another process have it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
