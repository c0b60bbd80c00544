"""Start a service's commands, look at what they serve, and stop them by signal."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path

from scripts.demo import get

__all__ = ["Running", "answers", "running"]

READY_SECONDS = 300.0
"""To generate, install and start a service, where somebody else is busy too."""
STOP_SECONDS = 60.0


class Running:
    """A command that runs until it gets a signal."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        """Hold the process and the file it prints to."""
        self.process = process
        self.log = log

    def printed(self) -> str:
        """Return what it has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_until(self, reached: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
        """Wait for a state of the outside world.

        Raises:
            AssertionError: the command ended, or took too long; with what it printed.
        """
        deadline = time.monotonic() + seconds
        while not reached():
            assert self.process.poll() is None, f"ended too early:\n{self.printed()}"
            assert time.monotonic() < deadline, f"not reached in time:\n{self.printed()}"
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(how)
        return self.process.wait(STOP_SECONDS)


def answers(url: str, status: int = HTTPStatus.OK) -> bool:
    """Tell whether a GET of this address has that status."""
    return get(url)[0] == status


@contextmanager
def running(
    argv: Sequence[str | Path], cwd: Path, env: Mapping[str, str], log: Path
) -> Iterator[Running]:
    """Run a command until the block ends; whatever is left of its session then is killed."""
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [str(part) for part in argv],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Running(process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
