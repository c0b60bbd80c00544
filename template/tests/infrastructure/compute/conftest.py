"""A running service that computes, on each engine; and one that is a real API process."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dishka import Provider, Scope
from httpx2 import AsyncClient, ConnectError, Limits

from app.core.module import Module
from app.infrastructure.compute.decorator import QUEUE
from app.infrastructure.compute.module import module
from app.infrastructure.compute.settings import ComputeSettings
from app.infrastructure.deferred.module import module as deferred_module
from app.infrastructure.health.module import module as health_module
from app.infrastructure.logger.context import LogContext
from app.infrastructure.queue import JobState
from app.infrastructure.queue.testing import JobService, StartJobs
from app.infrastructure.redis.keys import KeySpace
from tests.infrastructure.compute.services import DEFERRED, Here, Maths, Reports, Where
from tests.ports import free_port

PATIENCE = 120.0
POLL = 0.1
PROGRAM = Path(__file__).with_name("program.py")


def services() -> Provider:
    """Provide what computes."""
    provider = Provider(scope=Scope.REQUEST)
    provider.provide(Maths)
    provider.provide(Reports)
    provider.provide(Here, provides=Where)
    return provider


@dataclass
class ComputingService:
    """A running service."""

    maths: Maths
    jobs: JobService


Start = Callable[..., AbstractAsyncContextManager[ComputingService]]


@pytest.fixture
def start(job_service: StartJobs) -> Start:
    """What starts a service that computes, with a worker in it unless `work=False`."""

    @asynccontextmanager
    async def started(
        *contributes: object, work: bool = True, modules: tuple[Module, ...] = (), **options: Any
    ) -> AsyncIterator[ComputingService]:
        async with job_service(
            (DEFERRED, *contributes),
            modules=(health_module, deferred_module, module, *modules),
            providers=(services(),),
            work=work,
            **{"worker_queues": "compute,elsewhere", **options},
        ) as jobs:
            yield ComputingService(Maths(), jobs)

    return started


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute in place."""
    monkeypatch.setenv("COMPUTE_INLINE", "1")
    assert ComputeSettings().compute_inline


class Ledger:
    """What the calls of all processes did."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[list[str]]:
        """Return its lines, as words."""
        if not self.path.exists():
            return []
        return [line.split() for line in self.path.read_text(encoding="utf-8").splitlines()]

    def count(self, what: str) -> Counter[str]:
        """Return how often something happened, by word."""
        return Counter(words[1] for words in self.lines() if words[0] == what)

    def pids(self, what: str = "start") -> list[int]:
        """Return the processes in which it happened, in order."""
        return [int(words[2]) for words in self.lines() if words[0] == what]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """An empty ledger."""
    path = tmp_path / "ledger"
    monkeypatch.setenv("LEDGER", str(path))
    return Ledger(path)


@dataclass(eq=False)
class Api:
    """A running API process."""

    client: AsyncClient
    process: asyncio.subprocess.Process

    async def health(self) -> dict[str, Any]:
        """Return what it says about compute."""
        answer = (await self.client.get("/health")).json()
        found: dict[str, Any] = answer["checks"]["compute"]
        return {**found["details"], "status": found["status"]}

    async def pids(self) -> list[int]:
        """Return the processes of its pool."""
        found: list[int] = (await self.client.get("/pids")).json()
        return found

    async def workers(self, **states: int) -> dict[str, Any]:
        """Wait until so many processes are in these states."""
        return await self.until(lambda found: states.items() <= found["workers"].items())

    async def until(self, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a state."""
        found: dict[str, Any] = {}

        async def look() -> bool:
            found.update(await self.health())
            return reached(found)

        try:
            await until(look)
        except TimeoutError:
            pytest.fail(f"not reached within {PATIENCE} s: {found}")
        return found

    async def burn(self, seconds: float, word: str) -> int:
        """Have a processor kept busy; return the process that did it."""
        answer = await self.client.post("/burn", params={"seconds": seconds, "word": word})
        assert answer.status_code == 200, answer.text
        found: int = answer.json()
        return found

    async def end(self) -> int:
        """Ask it to end; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), PATIENCE)


Serve = Callable[..., AbstractAsyncContextManager[Api]]


@pytest.fixture
def serve(
    engine_environment: Mapping[str, str],
    redis_url: str,
    keys: KeySpace,
    ledger: Ledger,
) -> Serve:
    """Start a real API process, with a pool of real worker processes."""

    @asynccontextmanager
    async def start(**settings: object) -> AsyncIterator[Api]:
        port = free_port()
        env = environment(redis_url, keys, engine_environment, ledger, settings)
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), "serve", str(port), env=env
        )
        limits = Limits(max_connections=200)
        url = f"http://127.0.0.1:{port}"
        async with AsyncClient(base_url=url, timeout=PATIENCE, limits=limits) as client:
            try:
                await _ready(client, process)
                yield Api(client, process)
            finally:
                if process.returncode is None:
                    process.terminate()
                    await process.wait()

    return start


def environment(
    redis_url: str,
    keys: KeySpace,
    engine: Mapping[str, str],
    ledger: Ledger,
    settings: Mapping[str, object],
) -> dict[str, str]:
    """Return the environment of a process of the test's service."""
    return {
        **os.environ,
        "APP_NAME": keys.prefix,
        "REDIS_URL": redis_url,
        **engine,
        "QUEUE_LOCK": "1.5",
        "LEDGER": str(ledger.path),
        "LOG_LEVEL": "WARNING",
        "COMPUTE_INLINE": "0",
        "COMPUTE_NICE": "1",  # more would starve them, where tests keep all processors busy
        "PYTHONPATH": os.pathsep.join(sys.path),
        **{name.upper(): str(value) for name, value in settings.items()},
    }


async def _ready(client: AsyncClient, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(PATIENCE):
        while process.returncode is None:
            try:
                if (await client.get("/health/live")).status_code == 200:
                    return
            except ConnectError:
                await asyncio.sleep(0.05)
    pytest.fail(f"the API ended with {process.returncode}")


async def until(reached: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until something is so that others do.

    Raises:
        TimeoutError: it took too long.
    """
    async with asyncio.timeout(PATIENCE):
        while True:
            found = reached()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(POLL)


async def until_waiting(service: ComputingService, number: int = 1) -> None:
    """Wait until so many jobs do."""
    engine = service.jobs.engine

    async def look() -> bool:
        return (await engine.counts(QUEUE))[JobState.WAITING] == number

    await until(look)


CALLER = LogContext(trace_id="a" * 32, span_id="b" * 16, user_id="u-7")
