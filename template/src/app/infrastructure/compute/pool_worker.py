"""One process of the pool, as the pool sees it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from app.infrastructure.compute.worker import TALLY
from app.infrastructure.queue.supervisor import Place


class WorkerState(StrEnum):
    """What a process of the pool does."""

    STARTING = "starting"
    """Not yet able to take jobs, or to be started after a pause."""
    IDLE = "idle"
    """It could take one."""
    RUNNING = "running"
    """It is on one."""
    LEAVING = "leaving"
    """It was told to end."""


@dataclass
class PoolWorker:
    """One process, and what it last said."""

    place: Place = field(default_factory=Place)
    state: WorkerState = WorkerState.STARTING
    since: float = 0.0
    """When it was last told to leave, or became idle; of the monotonic clock."""
    _tally: int = -1

    def start(self, command: Sequence[str], env: dict[str, str], nice: int) -> None:
        """Start the process."""
        self.close()
        self._tally, theirs = os.pipe()
        os.set_blocking(self._tally, False)
        try:
            self.place.start(command, {**env, TALLY: str(theirs)}, (theirs,))
        finally:
            os.close(theirs)
        self.state = WorkerState.STARTING
        if nice and hasattr(os, "setpriority") and self.place.process:
            with suppress(OSError):  # it has ended already
                os.setpriority(os.PRIO_PROCESS, self.place.process.pid, nice)

    def listen(self) -> None:
        """Read how many jobs it is on."""
        said = b""
        with suppress(BlockingIOError):
            said = os.read(self._tally, 65_536) if self._tally >= 0 else b""
        if not said or self.state is WorkerState.LEAVING:
            return
        if said[-1]:
            self.state = WorkerState.RUNNING
        elif self.state is not WorkerState.IDLE or any(said):
            self.state, self.since = WorkerState.IDLE, time.monotonic()

    def leave(self) -> None:
        """Tell it to end."""
        self.state, self.since = WorkerState.LEAVING, time.monotonic()
        if self.place.process:
            self.place.process.terminate()

    def close(self) -> None:
        """Listen no more."""
        if self._tally >= 0:
            os.close(self._tally)
            self._tally = -1
