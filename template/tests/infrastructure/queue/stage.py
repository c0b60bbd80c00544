"""What a drill plays on: servers of its own, worker processes, a steady load, and the ledger."""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from app.core.container import build_container
from app.core.lifecycle import Lifecycle
from app.core.settings import load_settings
from app.infrastructure.queue import JobQueue, QueueUnavailableError
from tests.infrastructure.queue.balance import Usage
from tests.infrastructure.queue.program import REGISTRY
from tests.infrastructure.redis.server import Broker

FOLDER = Path(__file__).parent
PROGRAM = FOLDER / "program.py"
GOODBYE = 40.0
"""Seconds a worker may take to end; more than its grace."""
NO_JOBS = "app.infrastructure.queue.events=WARNING"
"""Log no line for each job: what is said of an outage is counted."""
MOST_STARTS = 50
"""Attempts of a job: what a drill does to the servers must not use them up."""


class Server(Protocol):
    """A server that may be mistreated; it keeps what it has acknowledged."""

    def start(self) -> None:
        """Start it, with the data it had."""

    def kill(self) -> None:
        """End it as a crash does."""

    def freeze(self) -> None:
        """Let it answer nobody, with all connections open: a black hole."""

    def thaw(self) -> None:
        """Undo `freeze`."""


class Ledger:
    """What the jobs of all processes wrote, read as it grows."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self.path = path
        self._read = 0
        self.starts: list[tuple[float, str, int]] = []
        """Moment, job and process."""
        self.effects: Counter[str] = Counter()

    def look(self) -> None:
        """Read what was written since the last look."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            lines = file.read()
        whole = lines.rpartition(b"\n")[0] + b"\n" if b"\n" in lines else b""
        self._read += len(whole)
        for line in whole.decode().splitlines():
            what, job_id, pid, moment = line.split()
            if what == "start":
                self.starts.append((float(moment), job_id, int(pid)))
            elif what == "effect":
                self.effects[job_id] += 1

    def first_starts(self, since: float) -> dict[int, float]:
        """Return when each process began its first job after a moment; both as `time.time()`."""
        self.look()
        first: dict[int, float] = {}
        for moment, _, pid in self.starts:
            if moment > since:
                first[pid] = min(moment, first.get(pid, moment))
        return first


class Workers:
    """Worker processes, each with a log of its own."""

    def __init__(self, number: int, folder: Path, env: Mapping[str, str]) -> None:
        self._logs = [folder / f"worker-{place}.log" for place in range(number)]
        self._processes = [self._start(log, env) for log in self._logs]
        self.pids = [process.pid for process in self._processes]

    @staticmethod
    def _start(log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with log.open("wb") as sink:
            argv = [sys.executable, str(PROGRAM)]
            own = {**os.environ, **env, "APP_ROLE": "worker", "LOG_LEVELS": NO_JOBS}
            return subprocess.Popen(argv, env=own, stdout=sink, stderr=subprocess.STDOUT)

    def usage(self) -> list[Usage]:
        """Return what each has used."""
        lines = (log.read_bytes().count(b"\n") for log in self._logs)
        return [Usage(_cpu(pid), said) for pid, said in zip(self.pids, lines, strict=True)]

    @property
    def ended(self) -> int:
        """How many have ended, which none should."""
        return sum(process.poll() is not None for process in self._processes)

    def stop(self) -> None:
        """End them in order, or at all."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(GOODBYE)
            process.kill()
            process.wait()


def _cpu(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@dataclass
class Load:
    """Publishes jobs one by one at a steady rate, whatever becomes of them, as requests do."""

    jobs: JobQueue
    rate: float
    """Jobs a second."""
    seconds: float
    """How long a job takes."""
    acknowledged: set[str] = field(default_factory=set)
    failures: list[float] = field(default_factory=list)
    """Seconds until a publish failed, for each that did."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Publish, until the block ends and each publish has."""
        async with asyncio.TaskGroup() as group:
            steady = group.create_task(self._steadily(group))
            yield
            steady.cancel()

    async def _steadily(self, group: asyncio.TaskGroup) -> None:
        due = time.monotonic()
        while True:
            group.create_task(self._publish())
            due += 1 / self.rate
            await asyncio.sleep(max(due - time.monotonic(), 0))

    async def _publish(self) -> None:
        began = time.monotonic()
        try:
            handle = await self.jobs.publish("work", self.seconds, attempts=MOST_STARTS)
        except QueueUnavailableError:
            self.failures.append(time.monotonic() - began)
        else:
            self.acknowledged.add(handle.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything a drill needs, running."""

    servers: Mapping[str, Server]
    workers: Workers
    ledger: Ledger
    jobs: JobQueue


@asynccontextmanager
async def stage(engine: str, workers: int, folder: Path) -> AsyncIterator[Stage]:
    """Start servers, workers, and a service in this process that publishes."""
    ledger = Ledger(folder / "ledger")
    env = {
        "APP_NAME": "drill",
        "APP_ENV_FILE": "",
        "QUEUE_ENGINE": engine,
        "LEDGER": str(ledger.path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    async with AsyncExitStack() as stack:
        servers: dict[str, Server] = {}
        for name, url, server, stop in _servers(engine, folder):
            stack.callback(stop)
            servers[name], env[f"{name.upper()}_URL"] = server, url
        started = Workers(workers, folder, env)
        stack.callback(started.stop)
        os.environ.update({**env, "APP_ROLE": "api", "LOG_LEVEL": "CRITICAL"})
        settings = load_settings(REGISTRY.modules)
        container = build_container(REGISTRY, settings)
        await stack.enter_async_context(Lifecycle(REGISTRY, settings, container))
        jobs = await container.get(JobQueue)
        yield Stage(servers=servers, workers=started, ledger=ledger, jobs=jobs)


def _servers(engine: str, folder: Path) -> Iterator[tuple[str, str, Server, Callable[[], None]]]:
    """Start the servers of an engine: its own, if its tests have a `node.py`, and Redis."""
    if (FOLDER / engine / "node.py").exists():
        node = importlib.import_module(f"{__package__}.{engine}.node").Node(folder / engine)
        node.start()
        yield engine, node.url, node, node.stop
    (folder / "redis").mkdir()
    redis = Broker(folder / "redis")
    yield "redis", f"redis://127.0.0.1:{redis.port}", redis, redis.kill
