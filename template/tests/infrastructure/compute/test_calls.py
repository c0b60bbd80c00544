"""Methods that are awaited here and run in a worker, on each engine."""

from __future__ import annotations

import asyncio
import math
import os
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from dishka import AsyncContainer

from app.core.errors import ConflictError, ForbiddenError
from app.infrastructure.compute import ComputeTimeoutError, NotComputableError
from app.infrastructure.compute.errors import as_raised
from app.infrastructure.deferred import Call, InvalidCallError, OnBehalfOf, Tasks
from app.infrastructure.logger import LogContext, bind_context
from app.infrastructure.logger.context import enter, leave
from app.infrastructure.queue import (
    DeadReason,
    Job,
    JobFailedError,
    JobFailure,
    JobOptions,
    JobState,
)
from app.infrastructure.queue.errors import AttemptTimeoutError
from app.infrastructure.queue.events import JobStarted
from tests.infrastructure.compute.conftest import (
    CALLER,
    PATIENCE,
    ComputingService,
    Ledger,
    Start,
    until,
    until_waiting,
)
from tests.infrastructure.compute.services import (
    CollidedError,
    Here,
    LostError,
    Maths,
    Reports,
    Shape,
    Stranger,
)

SHAPE = Shape(3, Decimal("2.50"))
FIRST = date(2026, 1, 31)


async def test_a_call_returns_what_the_method_returns(start: Start) -> None:
    """Sync and async, with the types of arguments and result, on an object made for the job."""
    async with start() as service:
        assert await service.maths.area(SHAPE, times=2) == Decimal("15.00")
        assert await service.maths.days(FIRST, 0, 1) == [FIRST, date(2026, 2, 1)]
        name, seen = await service.maths.thread()
        assert name != "MainThread"
        assert seen == 0
        assert service.maths.seen == 0
        started = service.jobs.told(JobStarted)
        assert [event.name for event in started] == [
            "compute.Maths.area",
            "compute.Maths.days",
            "compute.Maths.thread",
        ]


async def test_bytes_and_numbers_that_are_none_come_back_as_they_were(start: Start) -> None:
    async with start() as service:
        found = await service.maths.echo(b"\x00\xff", 1.5)
        assert found == {"raw": b"\x00\xff", "ratio": 1.5}


async def test_a_handle_has_the_type_of_the_result(start: Start) -> None:
    async with start() as service:
        handle = await service.maths.later(41)
        assert await handle.result(timeout=PATIENCE) == 42
        assert await handle.state() is JobState.COMPLETED


async def test_jobs_wait_in_a_queue_of_their_own(start: Start) -> None:
    """Workers that are told nothing leave it alone; priority, attempts and time are declared."""
    async with start(worker_queues="") as service:
        assert service.jobs.worker.queues() == ["default"]
        task = asyncio.create_task(service.maths.area(SHAPE))
        handle = await service.maths.later(1)
        assert handle.queue == "compute"
        await until_waiting(service, 2)
        await asyncio.sleep(0.2)
        assert not service.jobs.told(JobStarted)
        waiting = await service.jobs.engine.list_jobs("compute", JobState.WAITING)
        assert {record.attempts for record in waiting} == {2, 3}
        task.cancel()
        await asyncio.wait([task])


async def test_inside_a_computation_calls_are_made_directly(start: Start) -> None:
    """A worker with one place does not wait for itself. Calls that do not wait are published."""
    async with start(worker_concurrency=1) as service:
        assert await asyncio.wait_for(service.maths.both(3), PATIENCE) == [3, 2, 1]
        names = [event.name for event in service.jobs.told(JobStarted)]
        assert names.count("compute.Maths.both") == 1


async def test_a_subclass_and_an_interface_are_computed_as_what_they_are(start: Start) -> None:
    async with start() as service:
        assert await Reports().days(FIRST, 0) == [FIRST, FIRST]
        assert await Reports().area(SHAPE) == Decimal("7.50")
        assert await Here().is_it() == os.getpid()
        names = [event.name for event in service.jobs.told(JobStarted)]
        assert names == ["compute.Reports.days", "compute.Reports.area", "compute.Here.is_it"]


async def test_a_name_and_a_queue_of_its_own(start: Start) -> None:
    async with start() as service:
        assert await service.maths.renamed() == 1
        (event,) = service.jobs.told(JobStarted)
        assert (event.name, event.queue) == ("compute.old.name", "elsewhere")


async def test_what_nobody_provides_is_refused(start: Start) -> None:
    async with start(work=False):
        with pytest.raises(NotComputableError, match=r"Stranger.solve .* no module provides"):
            await Stranger().solve()


async def test_wrong_arguments_are_refused_at_the_call(start: Start) -> None:
    async with start(work=False) as service:
        with pytest.raises(InvalidCallError, match="argument 'shape'"):
            await service.maths.area((3, 2))  # type: ignore[arg-type]  # on purpose
        with pytest.raises(InvalidCallError, match="unexpected keyword argument 'size'"):
            await service.maths.area(SHAPE, size=2)  # type: ignore[call-arg]  # on purpose
        with pytest.raises(InvalidCallError, match="does not survive"):
            await service.maths.echo(b"", math.nan)
        assert sum((await service.jobs.engine.counts("compute")).values()) == 0


async def test_errors_of_the_service_are_raised_as_they_are(start: Start) -> None:
    """By name; an answer is not repeated; a class that wants more than a text is its base."""
    async with start() as service:
        with pytest.raises(LostError, match="the key is lost") as raised:
            await service.maths.lose("the key")
        assert "In the worker" in "".join(raised.value.__notes__)
        assert "services.py" in "".join(raised.value.__notes__)
        with pytest.raises(ConflictError, match="taken by Ada"):
            await service.maths.take()
        assert len(service.jobs.told(JobStarted)) == 2


def test_what_was_done_again_there_is_not_done_again_here() -> None:
    failed = JobFailedError(failure=JobFailure.of(CollidedError()), reason=DeadReason.ATTEMPTS)

    raised = as_raised(failed)
    assert (type(raised), raised.transient) == (CollidedError, False)


async def test_other_errors_are_failed_jobs_with_the_worker_s_traceback(start: Start) -> None:
    async with start() as service:
        with pytest.raises(JobFailedError, match="BrokenError: for good") as raised:
            await service.maths.break_()
        assert raised.value.reason is DeadReason.ATTEMPTS
        assert raised.value.failure
        assert raised.value.failure.type == "BrokenError"
        assert "services.py" in raised.value.failure.traceback
        with pytest.raises(JobFailedError, match="did not return what it says"):
            await service.maths.lie()


async def test_what_a_method_waited_for_is_not_what_its_caller_did(start: Start) -> None:
    """The caller's own wait is not over, and its job not cancelled."""
    async with start() as service:
        with pytest.raises(JobFailedError, match="JobTimeoutError"):
            await service.maths.wait_in_vain()


async def test_an_attempt_has_its_time(start: Start) -> None:
    async with start() as service:
        with pytest.raises(AttemptTimeoutError, match=r"longer than 0\.2 s"):
            await service.maths.endless()


async def test_a_caller_waits_no_longer_than_it_may(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is cancelled then; nobody would ask for its result."""
    monkeypatch.setenv("COMPUTE_WAIT", "0.3")
    async with start(worker_queues="") as service:
        with pytest.raises(ComputeTimeoutError, match=r"COMPUTE_WAIT of 0\.3 s"):
            await service.maths.area(SHAPE)
        await _until_dead(service, 1)


async def test_a_cancelled_caller_cancels_the_waiting_job(start: Start) -> None:
    async with start(worker_queues="") as service:
        task = asyncio.create_task(service.maths.area(SHAPE))
        await until_waiting(service)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _until_dead(service, 1)


async def test_a_cancelled_caller_cancels_the_running_job(start: Start, ledger: Ledger) -> None:
    """So does one that is cancelled before the broker has answered."""
    async with start() as service:
        task = asyncio.create_task(service.maths.sleep(60, "long"))
        await until(lambda: bool(ledger.count("start")))
        task.cancel()
        await until(lambda: bool(ledger.count("cancelled")))
        early = asyncio.create_task(service.maths.sleep(60, "early"))
        await asyncio.sleep(0)
        early.cancel()
        await asyncio.wait([task, early])
        await _until_dead(service, 2)
        assert not ledger.count("end")


async def test_the_caller_s_context_travels(start: Start) -> None:
    async with start() as service:
        token = enter(CALLER)
        try:
            assert await service.maths.who() == {"trace": CALLER.trace_id, "user": "u-7"}
        finally:
            leave(token)


async def test_checks_on_behalf_of_the_caller_are_asked(start: Start) -> None:
    """They see the call; what they refuse is the caller's error."""
    seen: list[str] = []

    async def check(context: LogContext, call: Call, _: AsyncContainer) -> None:
        seen.append(f"{context.user_id} {call!r}")
        if context.user_id != "u-7":
            raise ForbiddenError

    async with start(OnBehalfOf(check)) as service:
        with pytest.raises(JobFailedError, match="the caller may not"):
            await service.maths.area(SHAPE)
        with bind_context(user_id="u-7"):
            await service.maths.area(SHAPE, times=2)
        assert seen[1].startswith("u-7 Maths.area(shape=Shape(width=3")


async def test_a_deferred_call_may_end_in_a_computation(start: Start) -> None:
    """An ordinary worker makes the call, and waits for the other one; or does not."""
    async with start(worker_queues="default,compute") as service:
        tasks = await service.jobs.container.get(Tasks)
        first, second = await tasks.run_later(
            lambda run: [run(Maths).area(SHAPE), run(Maths).later(1)]
        )
        assert Decimal(await first.result(timeout=PATIENCE)) == Decimal("7.50")
        assert await second.result(timeout=PATIENCE) is None


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("compute.Maths.plain", '{"version":1,"value":{}}', DeadReason.UNKNOWN),
        ("compute.os.system", '{"version":1,"value":{}}', DeadReason.UNKNOWN),
        ("compute.Maths.later", '{"version":1,"value":{"number":"x"}}', DeadReason.REJECTED),
        ("compute.Maths.later", '{"version":1,"value":{"n":1}}', DeadReason.REJECTED),
        ("compute.Maths.later", '{"version":2,"value":{"number":1}}', DeadReason.REJECTED),
        ("compute.Maths.later", '{"value":{"number":1}}', DeadReason.REJECTED),
        ("compute.Maths.later", "[]", DeadReason.REJECTED),
        (
            "compute.Maths.later",
            '{"version":1,"stored":{"key":"../x","size":1,"sha256":""}}',
            DeadReason.REJECTED,
        ),
    ],
)
async def test_what_nobody_wrote_is_not_run(
    start: Start, name: str, body: str, reason: DeadReason
) -> None:
    async with start() as service:
        options = JobOptions(queue="compute", attempts=5)
        job = Job(id="forged", name=name, body=body, options=options)
        (handle,) = await service.jobs.jobs.publish_many([job])
        with pytest.raises(JobFailedError) as raised:
            await handle.result(timeout=PATIENCE)
        assert raised.value.reason is reason


async def test_signed_calls_only(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key, a call somebody changed or wrote is refused."""
    monkeypatch.setenv("DEFERRED_SIGNING_KEYS", "k" * 32)
    async with start(worker_queues="default") as service:
        handle = await service.maths.later(1)
        (record,) = await service.jobs.engine.list_jobs("compute", JobState.WAITING)
        assert "deferred-signature" in record.headers
        await handle.cancel()
    async with start() as service:
        assert await service.maths.area(SHAPE) == Decimal("7.50")
        good = Job(
            id="changed",
            name=record.name,
            body=record.body.replace("1}", "2}"),
            options=JobOptions(queue="compute"),
            headers=record.headers,
        )
        jobs = service.jobs.jobs
        for job in (good, replace(good, id="unsigned", headers={})):
            (forged,) = await jobs.publish_many([job])
            with pytest.raises(JobFailedError, match="signature is missing or wrong"):
                await forged.result(timeout=PATIENCE)


async def test_a_job_nobody_started_in_time_is_not_started(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller is gone: killed, perhaps, and could not cancel it."""
    monkeypatch.setenv("COMPUTE_WAIT", "0.2")
    async with start(worker_queues="") as service:
        task = asyncio.create_task(service.maths.area(SHAPE))
        await until_waiting(service)
        found = await service.jobs.engine.list_jobs("compute", JobState.WAITING)
        task.cancel()
        await asyncio.wait([task])
    orphan = Job(
        id="orphan",
        name=found[0].name,
        body=found[0].body,
        options=JobOptions(queue="compute", expires_in=timedelta(seconds=0.2)),
    )
    async with start(work=False) as service:
        (handle,) = await service.jobs.jobs.publish_many([orphan])
        await asyncio.sleep(0.3)
    async with start() as service:
        handle = service.jobs.jobs.handle("compute", handle.id)
        with pytest.raises(JobFailedError) as raised:
            await handle.result(timeout=PATIENCE)
        assert raised.value.reason is DeadReason.EXPIRED


async def _until_dead(service: ComputingService, number: int) -> None:
    """Wait until so many jobs are dead: cancelled, all of them."""

    async def look() -> bool:
        return (await service.jobs.engine.counts("compute"))[JobState.DEAD] == number

    await until(look)
    dead = await service.jobs.engine.list_jobs("compute", JobState.DEAD)
    assert {record.reason for record in dead} == {DeadReason.CANCELLED}
