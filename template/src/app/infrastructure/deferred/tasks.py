"""`run_later`: calls that are written here and made in a worker."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, Unpack, overload

from dishka import AsyncContainer

from app.core.discovery import Registry
from app.core.ids import new_id
from app.infrastructure.deferred.calls import Call
from app.infrastructure.deferred.catalog import JOB_PREFIX, Catalog
from app.infrastructure.deferred.errors import InvalidCallError
from app.infrastructure.deferred.options import CallOptions, as_changes, keyed
from app.infrastructure.deferred.ports import IDEMPOTENCY, Detour, OnceOnly
from app.infrastructure.deferred.recorder import Recorder
from app.infrastructure.deferred.signing import Signer
from app.infrastructure.queue import Job, JobHandle, JobQueue
from app.infrastructure.queue.codec import checked_body
from app.infrastructure.queue.headers import caller_headers

Record = Callable[[Recorder], object]
"""Calls what is to be called later; may be async. What it returns does not matter."""


class DeferredJobs(Sequence[JobHandle[Any]]):
    """The jobs of one `run_later`, in the order their chains were begun."""

    def __init__(self, handles: Sequence[JobHandle[Any]]) -> None:
        """Hold the handles."""
        self._handles = tuple(handles)

    @overload
    def __getitem__(self, index: int) -> JobHandle[Any]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[JobHandle[Any]]: ...

    def __getitem__(self, index: int | slice) -> JobHandle[Any] | Sequence[JobHandle[Any]]:
        """Return one handle, or several."""
        return self._handles[index]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._handles)

    async def results(self, *, timeout: float | None = None) -> list[Any]:  # noqa: ASYNC109 - as `result`
        """Wait for all of them and return what they returned, in order.

        Args:
            timeout: seconds for all together; None: as long as it takes.

        Raises:
            JobFailedError, JobCancelledError, JobTimeoutError, UnknownJobError: the first one that
                `JobHandle.result` raises. The jobs themselves go on.
        """
        waiting = [asyncio.ensure_future(job.result(timeout=timeout)) for job in self._handles]
        try:
            return await asyncio.gather(*waiting)
        finally:
            for task in waiting:
                task.cancel()


class Dispatcher(Protocol):
    """Sends recorded calls on their way."""

    async def dispatch(
        self, calls: Sequence[Call], options: CallOptions, *, immediate: bool
    ) -> DeferredJobs:
        """Send all of them, or none.

        Args:
            calls: one job each.
            options: of all of them; a call's own count more.
            immediate: now, whatever becomes of the caller's transaction.
        """
        ...


class Place(NamedTuple):
    """Which of several calls one is, from 0."""

    among_all: int
    of_its_options: int
    """Among those begun with the same `run(…)`."""


FIRST = Place(0, 0)


def places(calls: Sequence[Call]) -> list[Place]:
    """Return the place of each call."""
    seen: Counter[int] = Counter()
    found = []
    for index, call in enumerate(calls):
        found.append(Place(index, seen[id(call.options)]))
        seen[id(call.options)] += 1
    return found


class QueueDispatcher:
    """Publishes calls as jobs, in one round trip, or hands them to whoever takes them there."""

    def __init__(
        self, jobs: JobQueue, signer: Signer, registry: Registry, container: AsyncContainer
    ) -> None:
        """Publish to `jobs`, signed, unless a module of the registry takes them."""
        self._jobs = jobs
        self._signer = signer
        self._container = container
        self._detours = registry.contributions(Detour)
        self._once = bool(registry.contributions(OnceOnly))

    async def dispatch(
        self, calls: Sequence[Call], options: CallOptions, *, immediate: bool
    ) -> DeferredJobs:
        """See `Dispatcher`.

        Raises:
            InvalidCallError: an option needs a module that is not there.
            InvalidJobError: an option can't be had, or a call is larger than a job may be.
            QueueUnavailableError: the broker did not answer in time.
        """
        jobs = [
            self.prepare(call, options, place)
            for call, place in zip(calls, places(calls), strict=True)
        ]
        if immediate or not await self._detoured(jobs):
            published = await self._jobs.publish_many(jobs)
            ids = [handle.id for handle in published]
        else:
            ids = [job.id for job in jobs]
        return DeferredJobs(
            [
                JobHandle(self._jobs.engine, job.queue, job_id, call.steps[-1].method.result)
                for job, job_id, call in zip(jobs, ids, calls, strict=True)
            ]
        )

    async def _detoured(self, jobs: Sequence[Job]) -> bool:
        for detour in self._detours:
            if await detour.take(self._container, jobs):
                return True
        return False

    def prepare(self, call: Call, options: CallOptions, place: Place = FIRST) -> Job:
        """Return the job of a call.

        Args:
            call: what is to be done.
            options: of all calls it was recorded with.
            place: which of them it is.

        Raises:
            InvalidCallError, InvalidJobError: as `dispatch`.
        """
        shared, own = keyed(options, place.among_all), keyed(call.options, place.of_its_options)
        chosen: CallOptions = {**shared, **own}
        headers = {}
        if key := chosen.get("idempotency"):
            if not self._once:
                message = "`idempotency` needs a module that keeps the keys, such as the outbox"
                raise InvalidCallError(message)
            headers[IDEMPOTENCY] = key
        job = Job(
            id=new_id().hex,
            name=JOB_PREFIX + call.target.wire_name,
            body=checked_body(call.envelope()),
            options=call.target.options(call.steps[-1].method).changed(as_changes(chosen)),
            headers=caller_headers(headers),
        )
        return self._signer.sign(job)


class Tasks:
    """Defers calls to workers. Services have it injected."""

    def __init__(self, catalog: Catalog, dispatcher: Dispatcher) -> None:
        """Record what is in the catalog, and send it with the dispatcher."""
        self._catalog = catalog
        self._dispatcher = dispatcher

    async def run_later(
        self, record: Record, *, immediate: bool = False, **options: Unpack[CallOptions]
    ) -> DeferredJobs:
        """Record calls and have them made in a worker.

            jobs = await tasks.run_later(lambda run: [
                run(UserRepository).rename(7, "New name"),
                run(EmailService).to("ada@example.com").template("renamed").send({"id": 7}),
            ])

        Each chain is one job; all of them leave in one round trip, all or none. Inside a unit of
        work, and where there is an outbox, they leave when it is committed, and not at all when it
        is rolled back.

        Args:
            record: is given a `Recorder` and calls what is to be called; may be async.
            immediate: now, whatever becomes of the unit of work.
            options: see `CallOptions`, for all chains; `run(EmailService, delay=…)` for one.

        Returns:
            A handle for each chain.

        Raises:
            InvalidCallError: what was recorded can't be deferred: a `TypeError`.
            InvalidJobError: an option can't be had, or the arguments are too large.
            QueueUnavailableError: the broker did not answer in time. Some brokers may have taken
                the jobs nevertheless.
        """
        calls = await recorded(self._catalog, record)
        return await self._dispatcher.dispatch(calls, options, immediate=immediate)


async def recorded(catalog: Catalog, record: Record) -> list[Call]:
    """Return the calls a function records.

    Raises:
        InvalidCallError: one of them can't be deferred, or there are none.
    """
    recorder = Recorder(catalog)
    outcome = record(recorder)
    if inspect.isawaitable(outcome):
        await outcome
    return recorder.finish()
