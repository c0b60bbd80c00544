"""Keep a number of worker processes running. One that dies is replaced, with growing pauses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

from loguru import logger

from app.infrastructure.queue.process import PARENT, REFUSED

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
class Place:
    """One of the processes there should be."""

    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0
    """One after the other; one that lived long begins anew."""
    not_before: float = 0.0

    @property
    def may_start(self) -> bool:
        """Whether it is empty, and the pause after a death is over."""
        return self.process is None and time.monotonic() >= self.not_before

    def start(
        self, command: Sequence[str], env: Mapping[str, str], inherited: Sequence[int] = ()
    ) -> None:
        """Start the process.

        Args:
            command: what it runs.
            env: added to the environment of this process.
            inherited: file descriptors it gets.
        """
        self.started = time.monotonic()
        whole = {**os.environ, **env}
        self.process = subprocess.Popen(command, env=whole, pass_fds=inherited)  # noqa: S603 - our own program

    def ended(self) -> int | None:
        """Return the exit code if the process has ended by now; the place is empty then."""
        code = self.process.poll() if self.process else None
        if code is not None:
            self.process = None
        return code

    def died(self, code: int, what: str = "A worker process") -> None:
        """Have a pause before the next start, and say so."""
        now = time.monotonic()
        self.deaths = 1 if now - self.started > HEALTHY_SECONDS else self.deaths + 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self.deaths - 1, 20))
        self.not_before = now + pause
        reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        logger.error("{} died ({}), another starts in {:.1f} s", what, reason, pause)


@dataclass
class Supervisor:
    """Starts worker processes and sees to it that they are there."""

    processes: int
    grace: float
    """Seconds from the signal to the end of a process."""
    command: Sequence[str] = (sys.executable, "-m", "app.infrastructure.queue.process")
    """What each process runs."""
    _places: list[Place] = field(default_factory=list)
    _ending: bool = False
    _refused: bool = False

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        self._places = [Place() for _ in range(self.processes)]
        try:
            while not self._ending:
                for place in self._places:
                    self._look(place)
                time.sleep(POLL)
        finally:
            code = end_all((place.process for place in self._places if place.process), self.grace)
        return REFUSED if self._refused else code

    def _end(self, _signal: int, _frame: FrameType | None) -> None:
        self._ending = True

    def _look(self, place: Place) -> None:
        """Start the process of a place if there is none, or if it has died."""
        if (code := place.ended()) is not None:
            if code == REFUSED:
                self._refused = self._ending = True
                return
            place.died(code)
        if place.may_start and not self._ending:
            place.start(self.command, {"APP_ROLE": "worker", PARENT: str(os.getpid())})


def end_all(processes: Iterable[subprocess.Popen[bytes]], grace: float) -> int:
    """End processes; return 1 if one of them had to be killed or ended badly.

    Args:
        processes: each gets SIGTERM.
        grace: seconds they have; a little later they are killed.
    """
    living = list(processes)
    for process in living:
        if process.poll() is None:
            process.terminate()
    until = time.monotonic() + grace + KILL_AFTER
    for process in living:
        try:
            process.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            logger.critical("Worker process {} did not end: killing it", process.pid)
            process.kill()
            process.wait()
    # One that had just been started knew of no signal yet, and held no job.
    return int(any(process.returncode not in {0, -signal.SIGTERM} for process in living))
