"""Fixtures for tests of code that calls `run_later`.

Without one of them the calls go into the queue of the tests, and nobody makes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from dishka import AsyncContainer, Provider, Scope

from app.core.container import WorkScope
from app.core.deferring import CallableLater
from app.core.discovery import discover
from app.infrastructure.deferred.calls import Call
from app.infrastructure.deferred.catalog import Catalog
from app.infrastructure.deferred.options import CallOptions
from app.infrastructure.deferred.recorder import Recorder
from app.infrastructure.deferred.replay import Replayer
from app.infrastructure.deferred.tasks import DeferredJobs, Dispatcher, QueueDispatcher, places
from app.infrastructure.queue import JobHandle, JobQueue, JobRecord, JobState, JobTimeoutError
from app.infrastructure.queue.engine import JobEngine
from app.infrastructure.queue.handlers import HandlerRegistry
from app.infrastructure.queue.headers import job_log_context
from app.infrastructure.queue.worker import Worker

POLL = 0.02
"""Seconds between looks whether the queues are empty."""
PATIENCE = 30.0
"""Seconds in which the jobs of a test have to end."""
BUSY = (JobState.WAITING, JobState.ACTIVE, JobState.BLOCKED)

RunJobs = Callable[[], Awaitable[None]]


@dataclass
class RecordedCalls:
    """What was deferred while the test ran; nothing of it is made."""

    calls: list[Call] = field(default_factory=list)
    """In order. They compare with what `written` returns, and show what was written."""
    catalog: Catalog | None = None

    def written(self, record: Callable[[Recorder], object]) -> list[Call]:
        """Return the calls a function writes, to compare with.

            assert deferred.calls == deferred.written(
                lambda run: run(EmailService).to("ada@example.com").send({"name": "Ada"})
            )

        Raises:
            InvalidCallError: as `run_later`.
        """
        recorder = Recorder(self.catalog or Catalog(discover().contributions(CallableLater)))
        record(recorder)
        return recorder.finish()

    async def dispatch(
        self, calls: Sequence[Call], options: CallOptions, *, immediate: bool = False
    ) -> DeferredJobs:
        """See `Dispatcher`: keep them, each with its options."""
        del immediate
        self.calls += [replace(call, options={**options, **call.options}) for call in calls]
        records = [
            JobRecord(id=f"recorded-{number}", queue="", state=JobState.WAITING, attempts=1)
            for number, _ in enumerate(calls, len(self.calls) - len(calls))
        ]
        return DeferredJobs([_Kept(record).handle() for record in records])


class InlineDispatcher:
    """Makes calls at once, in order, each in a scope of its own; what one raises is raised."""

    def __init__(
        self, container: AsyncContainer, replayer: Replayer, real: QueueDispatcher
    ) -> None:
        """Make calls with the replayer, written and read as if they had travelled."""
        self._container = container
        self._replayer = replayer
        self._real = real

    async def dispatch(
        self, calls: Sequence[Call], options: CallOptions, *, immediate: bool = False
    ) -> DeferredJobs:
        """See `Dispatcher`: make them."""
        del immediate
        handles = []
        for call, place in zip(calls, places(calls), strict=True):
            job = self._real.prepare(call, options, place)
            with job_log_context(job):
                async with WorkScope(self._container) as scope:
                    outcome = await self._replayer.replay(call.target, job, scope)
            adapter = outcome.adapter
            result = adapter.dump_python(outcome.value, mode="json") if adapter else None
            done = JobRecord(id=job.id, queue=job.queue, state=JobState.COMPLETED, result=result)
            handles.append(_Kept(done).handle(call))
        return DeferredJobs(handles)


@dataclass(frozen=True)
class _Kept:
    """Answers a handle about one job, in place of an engine."""

    record: JobRecord

    def handle(self, call: Call | None = None) -> JobHandle[Any]:
        adapter = call.steps[-1].method.result if call else None
        return JobHandle(cast("JobEngine", self), self.record.queue, self.record.id, adapter)

    async def find(self, _queue: str, _job_id: str) -> JobRecord:
        return self.record

    async def ended(self, _queue: str, _job_id: str, _timeout: float | None) -> JobRecord:
        if not self.record.state.has_ended:
            message = "the call is only recorded: use the fixture `deferred_inline` to have it made"
            raise JobTimeoutError(message)
        return self.record

    async def cancel(self, _queue: str, _job_id: str) -> bool:
        return not self.record.state.has_ended


@pytest.fixture
def deferred() -> RecordedCalls:
    """Record what the service defers, and make none of it: `deferred.calls`."""
    return RecordedCalls()


@pytest.fixture
def deferred_inline() -> None:
    """Make what the service defers at once, where it is deferred."""


@pytest.fixture
def override_deferred(request: pytest.FixtureRequest) -> Provider:
    """What the fixtures `deferred` and `deferred_inline` replace."""
    provider = Provider(scope=Scope.APP)
    if "deferred" in request.fixturenames:
        recorded: RecordedCalls = request.getfixturevalue("deferred")

        def record(catalog: Catalog) -> Dispatcher:
            recorded.catalog = catalog
            return recorded

        provider.provide(record, override=True)
    elif "deferred_inline" in request.fixturenames:
        provider.provide(QueueDispatcher)
        provider.provide(InlineDispatcher, provides=Dispatcher, override=True)
    return provider


@pytest.fixture
def run_jobs(container: AsyncContainer) -> RunJobs:
    """Have a real worker do what waits, until no job does.

    Call it as often as you like. Delayed jobs stay; what failed can be seen through its handle.
    """
    return lambda: until_done(container)


async def until_done(container: AsyncContainer) -> None:
    """Do the waiting jobs of a service, one at a time: a test's database has one connection.

    Raises:
        TimeoutError: some have not ended in time.
    """
    worker = await container.get(Worker)
    engine = (await container.get(JobQueue)).engine
    queues = (await container.get(HandlerRegistry)).queues()
    async with asyncio.timeout(PATIENCE):
        # A job may publish others, to a queue that was empty before.
        while busy := [queue for queue in queues if await _is_busy(engine, queue)]:
            await worker.start(busy[:1], concurrency=1)
            try:
                while await _is_busy(engine, busy[0]):  # noqa: ASYNC110 - others may work too
                    await asyncio.sleep(POLL)
            finally:
                await worker.stop(PATIENCE)


async def _is_busy(engine: JobEngine, queue: str) -> bool:
    counts = await engine.counts(queue)
    return any(counts.get(state, 0) for state in BUSY)
