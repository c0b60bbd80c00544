"""Drills: servers that die, fall silent or restart while real workers do jobs.

`PYTHONPATH=src:. python -m tests.infrastructure.queue.outages --engine rabbitmq --drill kill`, in
the folder above `src`. It starts servers and workers of its own, and prints what became of every
job as one line of JSON (see `Balance`). The exit code is 1 if a job was lost, was early, or, of
those with a delay, ran twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

from app.infrastructure.queue.settings import ENGINES
from tests.infrastructure.queue.balance import PATIENCE, Balance, Meter
from tests.infrastructure.queue.stage import MOST_STARTS, Load, Server, Stage, stage

JOB_SECONDS = 0.2
SETTLED = 5.0
"""Seconds of load before the first outage. RabbitMQ 3.10 forgets a quorum queue that was declared
a moment before it is killed."""
PAUSES = (1.0, 3.0)
"""Seconds a killed server stays away, beside those it needs to start."""
SILENCES = (5.0, 10.0, 60.0, 20.0)
"""Seconds of one black hole after the other."""
BETWEEN = 3.0
"""Seconds of load after an outage, once every worker does jobs again."""
NOTICE = 40.0
"""Seconds from publishing jobs with a delay until they are due: longer than a lock, and than two
servers need to start."""
BATCH = 500


class Drill:
    """One drill on one stage."""

    def __init__(self, on: Stage, balance: Balance, rate: float) -> None:
        self._stage = on
        self._balance = balance
        self._load = Load(on.jobs, rate, JOB_SECONDS)
        self._meter = Meter(balance)

    async def kill(self, times: int) -> None:
        """Kill the servers in turns, under load."""
        rng = random.Random(1)  # noqa: S311 - the same each time
        async with self._under_load():
            for number in range(times):
                server = self._server(number)
                await self._outage(server.kill, rng.uniform(*PAUSES), server.start)
                await self._return()
        await self._drain(self._load.acknowledged)

    async def freeze(self, silences: Sequence[float]) -> None:
        """Let the servers answer nobody, in turns and under load: a black hole."""
        async with self._under_load():
            for number, seconds in enumerate(silences):
                server = self._server(number)
                await self._outage(server.freeze, seconds, server.thaw)
                await self._return()
        await self._drain(self._load.acknowledged)

    async def due(self, number: int, notice: float) -> None:
        """Let many jobs be due at one instant, and kill every server before that."""
        async with self._under_load():
            pass
        await self._drain(self._load.acknowledged)
        instant = time.time() + notice
        due = await self._publish_for(instant, number)
        for place in range(len(self._stage.servers)):
            server = self._server(place)
            await self._outage(server.kill, PAUSES[0], server.start)
        say(f"all servers are back {instant - time.time():.1f} s before the jobs are due")
        await asyncio.sleep(max(instant - time.time(), 0))
        await self._drain(self._load.acknowledged | due.keys())
        late = [at - due[job] for at, job, _ in self._stage.ledger.starts if job in due]
        self._balance.early = sum(seconds < 0 for seconds in late)
        self._balance.latest = max(late, default=0.0)

    async def _publish_for(self, instant: float, number: int) -> dict[str, float]:
        """Publish jobs that are due at a moment; return when each is, to the millisecond."""
        jobs, due = self._stage.jobs, dict[str, float]()
        for begin in range(0, number, BATCH):
            batch = []
            for _ in range(min(BATCH, number - begin)):
                wait = round((instant - time.time()) * 1000)
                delay = timedelta(milliseconds=wait)
                job = jobs.prepare("work", 0.0, delay=delay, attempts=MOST_STARTS)
                due[job.id] = (int(job.created_at.timestamp() * 1000) + wait) / 1000
                batch.append(job)
            await jobs.publish_many(batch)
        return due

    def _server(self, number: int) -> Server:
        servers = list(self._stage.servers.values())
        return servers[number % len(servers)]

    @asynccontextmanager
    async def _under_load(self) -> AsyncIterator[None]:
        """Publish until the block ends, which begins when all workers do jobs."""
        async with self._load.running():
            began = time.time()
            await self._all_begin(began)
            await asyncio.sleep(max(SETTLED - (time.time() - began), 0))
            yield

    async def _outage(
        self, begin: Callable[[], None], seconds: float, end: Callable[[], None]
    ) -> None:
        """Do something to a server, undo it after a while, and see what the workers use."""
        workers, began = self._stage.workers, time.monotonic()
        before = workers.usage()
        await asyncio.to_thread(begin)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(end)
        away = time.monotonic() - began
        said = self._meter.add(before, workers.usage(), away)
        self._balance.failed = len(self._load.failures)
        say(f"outage {self._balance.outages}: {away:.1f} s, {said:.1f} lines a second")

    async def _return(self) -> None:
        """Wait until every worker does jobs again after an outage, and note how long that takes."""
        back, balance = time.time(), self._balance
        first = await self._all_begin(back)
        waited = time.time() - back
        at_once = min(first, default=waited)
        balance.longest_return = max(balance.longest_return, at_once)
        balance.longest_idle = max(balance.longest_idle, waited)
        say(f"next job after {at_once:.2f} s, every worker after {waited:.2f} s")
        await asyncio.sleep(BETWEEN)

    async def _all_begin(self, since: float) -> list[float]:
        """Wait until each worker has begun a job; return after how many seconds each did."""
        ledger, number = self._stage.ledger, len(self._stage.workers.pids)
        deadline = time.monotonic() + PATIENCE
        first = ledger.first_starts(since)
        while len(first) < number and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            first = ledger.first_starts(since)
        return [moment - since for moment in first.values()]

    async def _drain(self, wanted: set[str]) -> None:
        """Wait until all jobs are done, or for long enough; then count."""
        ledger, balance, began = self._stage.ledger, self._balance, time.monotonic()
        ledger.look()
        while not ledger.effects.keys() >= wanted and time.monotonic() - began < PATIENCE:
            await asyncio.sleep(0.1)
            ledger.look()
        balance.drained = time.monotonic() - began
        await asyncio.sleep(1.0)  # for what may come twice
        ledger.look()
        balance.acknowledged = len(wanted)
        balance.lost = len(wanted - ledger.effects.keys())
        balance.done = len(wanted) - balance.lost
        balance.twice = ledger.effects.total() - len(ledger.effects)
        balance.failed = len(self._load.failures)
        balance.longest_failure = max(self._load.failures, default=0.0)
        balance.ended = self._stage.workers.ended


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    sys.stderr.write(f"  {text}\n")
    sys.stderr.flush()


async def run(chosen: argparse.Namespace, folder: Path) -> Balance:
    """Run the drill the command line chose, in a folder."""
    balance = Balance(chosen.engine, chosen.drill)
    async with stage(chosen.engine, chosen.workers, folder) as on:
        drill = Drill(on, balance, chosen.rate)
        if chosen.drill == "kill":
            await drill.kill(chosen.times)
        elif chosen.drill == "freeze":
            await drill.freeze(chosen.seconds)
        else:
            await drill.due(chosen.jobs, chosen.notice)
    balance.judge()
    return balance


def main() -> int:
    """Run a drill; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0])
    parser.add_argument("--drill", choices=("kill", "freeze", "due"), default="kill")
    parser.add_argument("--times", type=int, default=10, help="kills (default: 10)")
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=SILENCES, help="of each black hole"
    )
    parser.add_argument("--jobs", type=int, default=10_000, help="due at once (default: 10000)")
    parser.add_argument("--notice", type=float, default=NOTICE, help="seconds before that")
    parser.add_argument("--rate", type=float, default=100.0, help="jobs a second (default: 100)")
    parser.add_argument("--workers", type=int, default=4, help="processes (default: 4)")
    parser.add_argument("--folder", type=Path, help="keeps logs, ledger and data; must be new")
    chosen = parser.parse_args()
    if chosen.folder:
        chosen.folder.mkdir(parents=True)
    keeping = nullcontext(str(chosen.folder)) if chosen.folder else None
    with keeping or tempfile.TemporaryDirectory(prefix="drill-") as folder:
        balance = asyncio.run(run(chosen, Path(folder)))
    print(json.dumps(asdict(balance)))  # noqa: T201 - that is what it is for
    whole = not balance.lost and not balance.early
    return 0 if whole and (balance.drill != "due" or not balance.twice) else 1


if __name__ == "__main__":
    sys.exit(main())
