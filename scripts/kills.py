"""Drills that end workers, by the hundred and under load, and count what became of every job.

Each job writes when it begins and when it has had its effect to an append-only file, which survives
whatever is killed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scripts import processes
from scripts.console import CommandError, say
from scripts.tools import ROOT, VENV

PAYLOAD = ROOT / "template"
PROGRAM = PAYLOAD / "tests/infrastructure/queue/program.py"
PYTHONPATH = f"{PAYLOAD / 'src'}{os.pathsep}{PAYLOAD}"
WORKERS, CONCURRENCY = 4, 10
JOB_SECONDS = 0.05
PAUSES = (0.3, 0.9)
"""Seconds between two kills."""
START_SECONDS = 4.0
"""A worker has begun to do jobs by then, also where another one starts beside it."""
PATIENCE = 60.0
"""Seconds after the last kill within which everything has to be done."""
PUBLISH = """
import asyncio, os, sys
from app.core.container import build_container
from app.core.lifecycle import Lifecycle
from app.core.settings import load_settings
from app.infrastructure.queue import JobQueue
from tests.infrastructure.queue.program import REGISTRY

async def main(number):
    settings = load_settings(REGISTRY.modules)
    container = build_container(REGISTRY, settings)
    async with Lifecycle(REGISTRY, settings, container):
        jobs = await container.get(JobQueue)
        for begin in range(0, number, 500):
            count = min(500, number - begin)
            await jobs.publish_many(
                [jobs.prepare("work", float(sys.argv[2]), attempts=50) for _ in range(count)]
            )

asyncio.run(main(int(sys.argv[1])))
"""


Drill = Callable[[Mapping[str, str], int, int], "Balance"]
"""Gets the environment of a worker, and the numbers of jobs and of kills."""


@dataclass(frozen=True)
class Balance:
    """What the ledger says."""

    jobs: int
    starts: int
    done: int
    effects: int
    kills: int
    seconds: float
    """From the last kill to the last effect."""

    @property
    def lost(self) -> int:
        """Jobs that never had their effect."""
        return self.jobs - self.done

    @property
    def is_broken(self) -> bool:
        """Whether a promise about jobs was."""
        return self.lost > 0

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"jobs {self.jobs}, starts {self.starts}, done {self.done}, lost {self.lost}, effects"
            f" twice {self.effects - self.done}, kills {self.kills}, drained after"
            f" {self.seconds:.1f} s"
        )


class Ledger:
    """The file the jobs write to."""

    def __init__(self, path: Path) -> None:
        """Begin with an empty one."""
        self.path = path
        path.touch()

    def count(self, what: str) -> Counter[str]:
        """Return how often something happened, by job."""
        lines = (line.split() for line in self.path.read_text(encoding="utf-8").splitlines())
        return Counter(words[1] for words in lines if words[0] == what)


@contextmanager
def _workers(env: Mapping[str, str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run worker processes; whoever kills one puts another in its place."""
    running = [_worker(env) for _ in range(WORKERS)]
    try:
        yield running
    finally:
        for process in running:
            processes.stop(process)


def _worker(env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return processes.start([VENV / "bin/python", PROGRAM], cwd=PAYLOAD, env=env)


def _publish(env: Mapping[str, str], jobs: int) -> None:
    argv = [str(VENV / "bin/python"), "-c", PUBLISH, str(jobs), str(JOB_SECONDS)]
    code, _ = processes.run(argv, cwd=PAYLOAD, env=env)
    if code != 0:
        message = "publishing failed"
        raise CommandError(message)


def at_random(how: signal.Signals, env: Mapping[str, str], jobs: int, kills: int) -> Balance:
    """Publish jobs, and end a random worker again and again while they are done."""
    ledger = Ledger(Path(env["LEDGER"]))
    rng = random.Random(1)  # noqa: S311 - the same each time
    with _workers(env) as running:
        _publish(env, jobs)
        for number in range(kills):
            time.sleep(rng.uniform(*PAUSES))
            place = rng.randrange(WORKERS)
            running[place].send_signal(how)
            if how is signal.SIGTERM:
                running[place].wait()
            running[place] = _worker(env)
            if number % 10 == 9:  # noqa: PLR2004 - a line now and then
                say(f"  {number + 1} of {kills}, {len(ledger.count('effect'))} jobs done")
        return _drained(ledger, jobs, kills)


def while_starting(env: Mapping[str, str], jobs: int, kills: int) -> Balance:
    """End workers, a pair at a time, a little later in their start and first jobs each time.

    Raises:
        CommandError: one did not end as it should: in order, or by the signal itself before it
            could listen to it.
    """
    ledger = Ledger(Path(env["LEDGER"]))
    _publish(env, jobs)
    for number in range(0, kills, 2):
        pair = [_worker(env), _worker(env)]
        for place, process in enumerate(pair):
            time.sleep(START_SECONDS / kills * (number if place == 0 else 1))
            process.send_signal(signal.SIGTERM)
        for process in pair:
            if process.wait(PATIENCE) not in {0, -signal.SIGTERM}:
                message = f"a worker ended with {process.returncode}"
                raise CommandError(message)
        if number % 10 == 8:  # noqa: PLR2004 - a line now and then
            say(f"  {number + 2} of {kills}, {len(ledger.count('effect'))} jobs done")
    with _workers(env):
        return _drained(ledger, jobs, kills)


def _drained(ledger: Ledger, jobs: int, kills: int) -> Balance:
    """Wait until all jobs are done, or for long enough."""
    last = time.monotonic()
    while len(ledger.count("effect")) < jobs and time.monotonic() - last < PATIENCE:
        time.sleep(0.2)
    took = time.monotonic() - last
    effects, starts = ledger.count("effect"), ledger.count("start")
    return Balance(jobs, starts.total(), len(effects), effects.total(), kills, took)


DRILLS: dict[str, tuple[str, Drill]] = {
    "sigkill": ("SIGKILL of a random worker", partial(at_random, signal.SIGKILL)),
    "sigterm": ("SIGTERM of a random worker", partial(at_random, signal.SIGTERM)),
    "start": ("SIGTERM at every moment of a start", while_starting),
}
"""By the name `make chaos` knows them by: what they are, and who does them."""


def environment(engine: str, name: str, urls: Mapping[str, str], ledger: Path) -> dict[str, str]:
    """Return the environment of the workers of a drill."""
    return {
        "APP_NAME": f"chaos-{name}",
        "APP_ROLE": "worker",
        "APP_ENV_FILE": "",
        "LOG_LEVEL": "ERROR",
        **urls,
        "QUEUE_ENGINE": engine,
        "QUEUE_LOCK": "3",
        "WORKER_CONCURRENCY": str(CONCURRENCY),
        "WORKER_GRACE": "10",
        "LEDGER": str(ledger),
        "PYTHONPATH": PYTHONPATH,
    }
