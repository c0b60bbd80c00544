"""`make chaos`: kill workers and brokers under load, and count what became of every job.

The long forms of the fault suite, on real servers. Each job writes when it begins and when it has
had its effect to an append-only file, which survives whatever is killed; at the end its balance is
printed, and the exit code is 1 if a job was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scripts import processes, servers
from scripts.console import CommandError, Steps, say
from scripts.tools import ROOT, VENV, ensure_environment, ensure_uv

PAYLOAD = ROOT / "template"
PROGRAM = PAYLOAD / "tests/infrastructure/queue/program.py"
ENGINES = ("bullmq", "rabbitmq")
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


def main() -> int:
    """Run the drills; return the exit code."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, help="one engine only")
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs a drill (default: 20000)")
    parser.add_argument("--kills", type=int, default=100, help="kills a drill (default: 100)")
    chosen = parser.parse_args()
    steps, balances = Steps(), dict[str, Balance]()
    try:
        with processes.in_charge(), ExitStack() as stack:
            with steps.step("set up: uv, .venv"):
                ensure_environment(ensure_uv())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
            for engine in [chosen.engine] if chosen.engine else ENGINES:
                with ExitStack() as own:
                    port = own.enter_context(servers.plain_redis(folder / f"redis-{engine}"))
                    broker = ""
                    if engine == "rabbitmq":
                        broker = own.enter_context(servers.rabbitmq(folder / "rabbitmq"))
                    drills: dict[str, Drill] = {
                        "SIGKILL of a random worker": partial(at_random, signal.SIGKILL),
                        "SIGTERM of a random worker": partial(at_random, signal.SIGTERM),
                        "SIGTERM at every moment of a start": while_starting,
                    }
                    for number, (name, drill) in enumerate(drills.items()):
                        title = f"{engine}: {name}"
                        env = {
                            "APP_NAME": f"chaos-{number}",
                            "APP_ROLE": "worker",
                            "APP_ENV_FILE": "",
                            "LOG_LEVEL": "ERROR",
                            "REDIS_URL": f"redis://127.0.0.1:{port}",
                            **({"RABBITMQ_URL": broker} if broker else {}),
                            "QUEUE_ENGINE": engine,
                            "QUEUE_LOCK": "3",
                            "WORKER_CONCURRENCY": str(CONCURRENCY),
                            "WORKER_GRACE": "10",
                            "LEDGER": str(folder / f"ledger-{engine}-{number}"),
                            "PYTHONPATH": f"{PAYLOAD / 'src'}{os.pathsep}{PAYLOAD}",
                        }
                        with contextlib.suppress(CommandError), steps.step(title) as outcome:
                            balances[title] = drill(env, chosen.jobs, chosen.kills)
                            outcome.note = str(balances[title])
    except CommandError:
        return 1  # its step has said it
    except processes.StoppedError:
        return 130
    for title, balance in balances.items():
        say(f"{title}: {balance}")
    return 1 if steps.failed or any(balance.lost for balance in balances.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
