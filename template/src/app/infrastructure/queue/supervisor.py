"""Keep a number of worker processes running. One that dies is replaced, with growing pauses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType

from loguru import logger

from app.infrastructure.queue.process import REFUSED

POLL = 0.1
"""Seconds between looks at the processes."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 30.0
"""Seconds before a process that died is started again."""
HEALTHY_SECONDS = 30.0
"""After living this long, a death counts as the first one."""
KILL_AFTER = 2.0
"""Seconds beyond the grace that a process may take."""


@dataclass
class _Place:
    """One of the processes there should be."""

    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0
    not_before: float = 0.0


@dataclass
class Supervisor:
    """Starts worker processes and sees to it that they are there."""

    processes: int
    grace: float
    """Seconds from the signal to the end of a process."""
    command: Sequence[str] = (sys.executable, "-m", "app.infrastructure.queue.process")
    """What each process runs."""
    _places: list[_Place] = field(default_factory=list)
    _ending: bool = False
    _refused: bool = False

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        self._places = [_Place() for _ in range(self.processes)]
        try:
            while not self._ending:
                for place in self._places:
                    self._look(place)
                time.sleep(POLL)
        finally:
            code = self._stop()
        return REFUSED if self._refused else code

    def _end(self, _signal: int, _frame: FrameType | None) -> None:
        self._ending = True

    def _look(self, place: _Place) -> None:
        """Start the process of a place if there is none, or if it has died."""
        now = time.monotonic()
        if place.process is not None and (code := place.process.poll()) is not None:
            self._died(place, code, now)
        if place.process is None and now >= place.not_before and not self._ending:
            place.started = now
            env = {**os.environ, "APP_ROLE": "worker"}
            place.process = subprocess.Popen(self.command, env=env)  # noqa: S603 - our own program

    def _died(self, place: _Place, code: int, now: float) -> None:
        place.process = None
        if code == REFUSED:
            self._refused = self._ending = True
            return
        place.deaths = 1 if now - place.started > HEALTHY_SECONDS else place.deaths + 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(place.deaths - 1, 20))
        place.not_before = now + pause
        reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        logger.error("A worker process died ({}), another starts in {:.1f} s", reason, pause)

    def _stop(self) -> int:
        """End all processes; return 1 if one of them had to be killed or ended badly."""
        living = [place.process for place in self._places if place.process]
        for process in living:
            if process.poll() is None:
                process.terminate()
        until = time.monotonic() + self.grace + KILL_AFTER
        for process in living:
            try:
                process.wait(max(until - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                logger.critical("Worker process {} did not end: killing it", process.pid)
                process.kill()
                process.wait()
        # One that had just been started knew of no signal yet, and held no job.
        return int(any(process.returncode not in {0, -signal.SIGTERM} for process in living))
