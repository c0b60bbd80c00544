"""What the port promises, on every engine, with its real servers."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from dishka import AsyncContainer, Provider, Scope
from pydantic import BaseModel, ConfigDict

from app.core.errors import AppError
from app.core.module import Module
from app.infrastructure.queue import (
    Backoff,
    BackoffKind,
    DeadReason,
    Deduplication,
    InvalidJobError,
    Job,
    JobCancelledError,
    JobContext,
    JobFailedError,
    JobQueue,
    JobState,
    JobTimeoutError,
    RejectJobError,
    RetryJobError,
    UnknownJobError,
    job,
    waiting,
)
from app.infrastructure.queue.events import JobCompleted, JobQueued, JobRetried, JobStarted
from app.infrastructure.queue.testing import StartJobs

SOON = timedelta(milliseconds=20)
QUICK = Backoff(kind=BackoffKind.FIXED, first=SOON, jitter=0)
PATIENCE = 20.0


class Report(BaseModel):
    """A payload and a result."""

    owner: UUID
    pages: int = 1


OWNER = UUID("01890a5d-ac96-774b-bcce-b302099a8057")


@job("report.double")
async def double(report: Report) -> Report:
    return Report(owner=report.owner, pages=report.pages * 2)


@job("echo")
async def echo(value: int) -> int:
    return value


async def test_a_job_is_done_and_its_result_has_its_type(job_service: StartJobs) -> None:
    """Models travel both ways."""
    async with job_service([double]) as running:
        handle = await running.jobs.publish(double, Report(owner=OWNER, pages=21))
        assert await handle.result(timeout=PATIENCE) == Report(owner=OWNER, pages=42)
        record = await handle.record()
        assert (record.state, record.starts, record.name) == (
            JobState.COMPLETED,
            1,
            "report.double",
        )
        assert {type(event) for event in running.events} == {JobQueued, JobStarted, JobCompleted}


async def test_many_jobs_leave_at_once_and_all_are_done(job_service: StartJobs) -> None:
    """Handles come in the order of the jobs."""
    async with job_service([echo]) as running:
        handles = await running.jobs.publish_many(
            [running.jobs.prepare(echo, number) for number in range(250)]
        )
        results = [await handle.result(timeout=PATIENCE) for handle in handles]
        assert results == list(range(250))


async def test_a_payload_may_be_large(job_service: StartJobs) -> None:
    """Larger than a frame of any protocol, and so may be the result."""

    @job("large")
    async def large(text: str) -> str:
        return text[::-1]

    async with job_service([large]) as running:
        text = "äb" * 60_000
        handle = await running.jobs.publish(large, text)
        assert await handle.result(timeout=PATIENCE) == text[::-1]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    owner: UUID


async def test_a_strict_model_travels_both_ways(job_service: StartJobs) -> None:
    """What JSON has no type for is a text in it, and no mistake."""

    @job("strict")
    async def strict(value: Strict) -> Strict:
        return value

    async with job_service([strict]) as running:
        handle = await running.jobs.publish(strict, Strict(owner=OWNER))
        assert await handle.result(timeout=PATIENCE) == Strict(owner=OWNER)


async def test_a_handler_that_is_not_async_runs_in_a_thread(job_service: StartJobs) -> None:
    """The loop goes on meanwhile."""

    @job("sync")
    def sync(value: str) -> str:
        time.sleep(0.01)
        return value.upper()

    async with job_service([sync]) as running:
        handle = await running.jobs.publish(sync, "text")
        assert await handle.result(timeout=PATIENCE) == "TEXT"


async def test_handlers_that_are_not_async_run_side_by_side(job_service: StartJobs) -> None:
    """As many as `WORKER_CONCURRENCY` says, however few processors there are."""
    together = threading.Barrier(40, timeout=PATIENCE)

    @job("meet", attempts=1)
    def meet(_value: int) -> None:
        together.wait()

    async with job_service([meet], worker_concurrency=40) as running:
        jobs = running.jobs
        handles = await jobs.publish_many([jobs.prepare(meet, number) for number in range(40)])
        for handle in handles:
            await handle.result(timeout=2 * PATIENCE)


async def test_a_look_without_waiting_finds_what_is_there(job_service: StartJobs) -> None:
    """`timeout=0` asks once."""
    async with job_service([echo], work=False) as running:
        handle = await running.jobs.publish(echo, 1)
        with pytest.raises(JobTimeoutError):
            await handle.result(timeout=0)
        async with job_service([echo]):
            assert await handle.result(timeout=PATIENCE) == 1
        assert await handle.result(timeout=0) == 1


@pytest.mark.parametrize("end", ["completed", "dead", "cancelled"])
async def test_who_waits_is_told_and_does_not_ask(
    job_service: StartJobs, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """The first time on the job's channel, later on that of the waiting process."""
    monkeypatch.setattr(waiting, "LOOK_AGAIN", (10 * PATIENCE,))
    go_on = asyncio.Event()

    @job("slow", attempts=1)
    async def slow(value: int) -> int:
        await go_on.wait()
        if end == "dead":
            raise ValueError
        return value

    async with job_service([slow, echo]) as running:
        for number in range(2):  # the second one is published by a process that has waited
            go_on.clear()
            handles = [await running.jobs.publish(slow, number) for _ in range(3)]
            results = [asyncio.ensure_future(h.result(timeout=PATIENCE)) for h in handles]
            await asyncio.sleep(0.2)
            if end == "cancelled":  # and they wait until they hear of it
                assert all([await handle.cancel() for handle in handles])
            else:
                go_on.set()
            errors = {"dead": JobFailedError, "cancelled": JobCancelledError}
            for result in results:
                if end == "completed":
                    assert await result == number
                else:
                    with pytest.raises(errors[end]):
                        await result


async def test_who_publishes_and_waits_does_not_ask_for_a_short_job(
    job_service: StartJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its result comes before the question could be answered; an old job is asked for at once."""
    monkeypatch.setattr(waiting, "SOON", 10 * PATIENCE)
    async with job_service([echo]) as running:
        first = await running.jobs.publish(echo, 1)
        assert await first.result(timeout=PATIENCE) == 1
        assert await first.result(timeout=PATIENCE) == 1
        asked: list[str] = []
        known = running.engine.find

        async def find(queue: str, job_id: str) -> Any:
            asked.append(job_id)
            return await known(queue, job_id)

        monkeypatch.setattr(running.engine, "find", find)
        for number in range(20):
            handle = await running.jobs.publish(echo, number)
            assert await handle.result(timeout=PATIENCE) == number
        # Those that were done before their publisher heard that they were published are asked for.
        assert len(asked) < 10


async def test_jobs_run_while_every_module_does(job_service: StartJobs) -> None:
    """Not while some have still to start, nor after one was stopped: a job may need any."""
    said: list[str] = []
    runs = asyncio.Event()

    async def startup(_: AsyncContainer) -> None:
        await asyncio.sleep(0.5)
        said.append("started")

    async def shutdown(_: AsyncContainer) -> None:
        said.append("stopped")

    late = Module(
        name="late", summary="test", requires=("queue",), startup=startup, shutdown=shutdown
    )

    @job("slow")
    async def slow() -> None:
        said.append("begun")
        runs.set()
        await asyncio.sleep(0.5)
        said.append("done")

    async with job_service([slow], work=False) as publisher:
        await publisher.jobs.publish(slow)
        async with job_service([slow], modules=(late,)), asyncio.timeout(PATIENCE):
            await runs.wait()
    assert said == ["started", "begun", "done", "stopped"]


async def test_publishing_an_id_twice_adds_one_job(job_service: StartJobs) -> None:
    """So a publish that was not answered can be repeated."""
    runs: list[int] = []

    @job("count")
    async def count(value: int) -> None:
        runs.append(value)

    async with job_service([count]) as running:
        handles = [await running.jobs.publish(count, 1, id="mine-1") for _ in range(3)]
        await handles[-1].result(timeout=PATIENCE)
        await running.jobs.publish(count, 1, id="mine-1")
        assert await running.engine.counts("default") == {
            **dict.fromkeys(JobState, 0),
            JobState.COMPLETED: 1,
        }
        assert runs == [1]


async def test_an_id_is_free_again_when_its_job_was_purged(job_service: StartJobs) -> None:
    """Whatever of the old job is still on its way."""
    async with job_service([echo], work=False) as running:
        for _ in range(2):
            old = await running.jobs.publish(echo, 1, id="again")
            assert await old.cancel()
            assert await running.engine.purge("default", JobState.DEAD) == 1
        handle = await running.jobs.publish(echo, 2, id="again")
        assert await handle.state() is JobState.WAITING
        async with job_service([echo]):
            assert await handle.result(timeout=PATIENCE) == 2
            await asyncio.sleep(0.3)
            assert (await handle.record()).starts == 1


async def test_a_delayed_job_is_not_early_and_hardly_late(job_service: StartJobs) -> None:
    """Delays count in milliseconds, not seconds."""
    started: dict[int, float] = {}

    @job("late")
    async def late(delay: int) -> None:
        started[delay] = time.time()

    async with job_service([late]) as running:
        published = time.time()
        handles = [
            await running.jobs.publish(late, delay, delay=timedelta(milliseconds=delay))
            for delay in (700, 100, 300, 50)
        ]
        assert await handles[0].state() is JobState.DELAYED
        for handle in handles:
            await handle.result(timeout=PATIENCE)
    assert sorted(started) == [50, 100, 300, 700]
    for delay, moment in started.items():
        assert moment - published >= delay / 1000


async def test_lower_numbers_go_first_and_equals_in_order(job_service: StartJobs) -> None:
    """Priorities 0 to 3."""
    order: list[str] = []

    @job("ordered")
    async def ordered(name: str) -> None:
        order.append(name)

    async with job_service([ordered], work=False) as publisher:
        jobs = publisher.jobs
        wanted = [(3, "g"), (1, "c"), (0, "a"), (2, "e"), (1, "d"), (0, "b"), (2, "f")]
        handles = [await jobs.publish(ordered, name, priority=p) for p, name in wanted]
        async with job_service([ordered], worker_concurrency=1):
            for handle in handles:
                await handle.result(timeout=PATIENCE)
        assert order == list("abcdefg")


async def test_a_failed_attempt_is_repeated_until_it_works(job_service: StartJobs) -> None:
    """The context says which attempt it is."""
    attempts: list[int] = []

    @job("flaky", attempts=5, backoff=QUICK)
    async def flaky(value: int, context: JobContext) -> int:
        attempts.append(context.attempt)
        if context.attempt < 3:
            message = "not yet"
            raise ValueError(message)
        return value

    async with job_service([flaky]) as running:
        handle = await running.jobs.publish(flaky, 7)
        assert await handle.result(timeout=PATIENCE) == 7
        assert attempts == [1, 2, 3]
        assert len(running.told(JobRetried)) == 2
        record = await handle.record()
        assert record.first_failure is not None
        assert record.first_failure.message == "not yet"


async def test_a_job_out_of_attempts_is_dead_and_can_be_replayed(job_service: StartJobs) -> None:
    """With its first and last error, and all its attempts again afterwards."""
    works = False

    @job("broken", attempts=2, backoff=QUICK)
    async def broken(value: int, context: JobContext) -> int:
        if not works:
            message = f"attempt {context.attempt}"
            raise ValueError(message)
        return value

    async with job_service([broken]) as running:
        handle = await running.jobs.publish(broken, 3)
        with pytest.raises(JobFailedError) as raised:
            await handle.result(timeout=PATIENCE)
        assert raised.value.reason is DeadReason.ATTEMPTS
        assert raised.value.failure is not None
        assert raised.value.failure.type == "ValueError"
        assert "raise ValueError" in raised.value.failure.traceback
        (dead,) = await running.engine.list_jobs("default", JobState.DEAD)
        assert (dead.starts, dead.attempts, dead.body) == (2, 2, "3")
        assert dead.first_failure is not None
        assert dead.last_failure is not None
        assert (dead.first_failure.message, dead.last_failure.message) == ("attempt 1", "attempt 2")
        works = True
        await running.admin.replay("default", handle.id)
        assert await handle.result(timeout=PATIENCE) == 3
        record = await handle.record()
        assert (record.starts, record.reason) == (1, None)
        assert await running.engine.list_jobs("default", JobState.DEAD) == []


class FinalError(AppError):
    """It will never work."""

    repeatable = False


async def test_an_error_no_other_attempt_helps_ends_the_job(job_service: StartJobs) -> None:
    """Whoever raises it knows nothing of jobs."""

    @job("final", attempts=9)
    async def final(_value: int) -> None:
        raise FinalError

    async with job_service([final]) as running:
        handle = await running.jobs.publish(final, 1)
        with pytest.raises(JobFailedError, match="It will never work") as caught:
            await handle.result(timeout=PATIENCE)
        assert caught.value.reason is DeadReason.REJECTED


class Rows:
    """What can't be committed."""


async def rows() -> AsyncIterator[Rows]:
    yield Rows()
    raise FinalError


async def test_an_error_of_the_commit_is_the_error_of_the_job(job_service: StartJobs) -> None:
    """It comes when the handler has returned, from what its services do at their end."""

    @job("commit", attempts=9)
    async def commit(_value: int, _rows: Rows) -> None:
        """Do nothing else."""

    provider = Provider(scope=Scope.REQUEST)
    provider.provide(rows)
    async with job_service([commit], providers=(provider,)) as running:
        handle = await running.jobs.publish(commit, 1)
        with pytest.raises(JobFailedError, match="It will never work") as caught:
            await handle.result(timeout=PATIENCE)
        assert caught.value.reason is DeadReason.REJECTED


class InTheWayError(AppError):
    """Another transaction was in the way."""

    transient = True


class Harmless:
    """What a scope gives."""


async def test_what_another_transaction_is_in_the_way_of_is_no_failed_attempt(
    job_service: StartJobs,
) -> None:
    """The handler is called again in a scope of its own, with no attempt to spare."""
    calls: list[int] = []

    @job("collide", attempts=1)
    async def collide(values: list[int], _service: Harmless) -> int:
        calls.append(1)
        total = values.pop() + values.pop()  # is there each time
        if len(calls) < 4:
            raise InTheWayError
        return total

    provider = Provider(scope=Scope.REQUEST)
    provider.provide(Harmless)
    async with job_service([collide], providers=(provider,)) as running:
        handle = await running.jobs.publish(collide, [1, 2])
        assert await handle.result(timeout=PATIENCE) == 3
    assert len(calls) == 4


async def locked() -> AsyncIterator[Rows]:
    yield Rows()
    raise InTheWayError


async def test_what_was_interrupted_or_refused_is_not_done_again(job_service: StartJobs) -> None:
    """Whatever its services meet while they end."""
    calls: list[str] = []

    @job("endless", attempts=1, timeout=timedelta(seconds=0.3))
    async def endless(_value: int, _rows: Rows) -> None:
        calls.append("endless")
        await asyncio.sleep(60)

    @job("stubborn", attempts=1, timeout=timedelta(seconds=0.3))
    async def stubborn(_value: int, _service: Harmless) -> None:
        calls.append("stubborn")
        try:
            await asyncio.sleep(60)
        finally:
            raise InTheWayError

    @job("refuse", attempts=9)
    async def refuse(_value: int, _rows: Rows) -> None:
        calls.append("refuse")
        raise FinalError

    provider = Provider(scope=Scope.REQUEST)
    provider.provide(Harmless)
    provider.provide(locked)
    dead = []
    async with job_service([endless, stubborn, refuse], providers=(provider,)) as running:
        for each in (endless, stubborn, refuse):
            handle = await running.jobs.publish(each, 1)
            with pytest.raises(JobFailedError) as caught:
                await handle.result(timeout=PATIENCE)
            dead.append((caught.value.reason, str(caught.value)))
    assert calls == ["endless", "stubborn", "refuse"]
    assert [reason for reason, _ in dead] == [
        DeadReason.ATTEMPTS,
        DeadReason.ATTEMPTS,
        DeadReason.REJECTED,
    ]
    assert ["took longer" in said for _, said in dead] == [True, True, False]


async def test_a_handler_may_give_up_or_ask_for_time(job_service: StartJobs) -> None:
    """`RejectJobError` ends it at once, `RetryJobError` sets the pause."""

    @job("reject", attempts=9)
    async def reject(_value: int) -> None:
        message = "no use"
        raise RejectJobError(message)

    @job("again", attempts=2, backoff=Backoff(first=timedelta(hours=1)))
    async def again(value: int, context: JobContext) -> int:
        if context.attempt == 1:
            raise RetryJobError(after=0.01)
        return value

    async with job_service([reject, again]) as running:
        rejected = await running.jobs.publish(reject, 1)
        repeated = await running.jobs.publish(again, 2)
        with pytest.raises(JobFailedError, match="no use"):
            await rejected.result(timeout=PATIENCE)
        assert (await rejected.record()).starts == 1
        assert await repeated.result(timeout=PATIENCE) == 2


async def test_an_error_may_say_anything(job_service: StartJobs) -> None:
    """Half a surrogate pair, and a megabyte of it."""

    @job("odd", attempts=1)
    async def odd(_value: int) -> None:
        raise ValueError("\ud800" * 1_000_000)

    async with job_service([odd]) as running:
        handle = await running.jobs.publish(odd, 1)
        with pytest.raises(JobFailedError) as raised:
            await handle.result(timeout=PATIENCE)
        assert raised.value.failure is not None
        assert raised.value.failure.message.startswith("\\ud800")
        assert len(raised.value.failure.message) < 3_000
        assert len(raised.value.failure.traceback) < 25_000


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_a_handler_that_wants_to_end_the_process_has_failed(
    job_service: StartJobs, kind: str
) -> None:
    """As a command does that is called as a function. The worker goes on."""

    @job("exit.async", attempts=1)
    async def exit_async(_value: int) -> None:
        sys.exit(2)

    @job("exit.thread", attempts=1)
    def exit_thread(_value: int) -> None:
        sys.exit(2)

    async with job_service([exit_async, exit_thread, echo]) as running:
        handle = await running.jobs.publish(f"exit.{kind}", 1)
        with pytest.raises(JobFailedError, match="wanted to end the process") as raised:
            await handle.result(timeout=PATIENCE)
        assert raised.value.reason is DeadReason.ATTEMPTS
        after = await running.jobs.publish(echo, 5)
        assert await after.result(timeout=PATIENCE) == 5


async def test_a_handler_that_meets_a_cancelled_task_has_failed(job_service: StartJobs) -> None:
    """And its place does the next job."""

    @job("meets", attempts=1)
    async def meets(value: int) -> int:
        if value:
            inner = asyncio.create_task(asyncio.sleep(9))
            inner.cancel()
            await inner
        return value

    async with job_service([meets], worker_concurrency=1) as running:
        bad = await running.jobs.publish(meets, 1)
        with pytest.raises(JobFailedError, match="CancelledInside"):
            await bad.result(timeout=PATIENCE)
        assert await (await running.jobs.publish(meets, 0)).result(timeout=PATIENCE) == 0


async def test_an_attempt_is_cut_off_at_its_timeout(job_service: StartJobs) -> None:
    """And counts as a failed one."""

    @job("slow", attempts=1, timeout=timedelta(milliseconds=50))
    async def slow(_value: int) -> None:
        await asyncio.sleep(60)

    async with job_service([slow]) as running:
        handle = await running.jobs.publish(slow, 1)
        with pytest.raises(JobFailedError, match=r"AttemptTimeoutError.*0\.05 s"):
            await handle.result(timeout=PATIENCE)


async def test_a_result_that_is_no_json_does_not_repeat_the_work(job_service: StartJobs) -> None:
    """The job is dead, and ran once."""
    runs: list[int] = []

    @job("odd", attempts=5, backoff=QUICK)
    async def odd(value: int) -> int:
        runs.append(value)
        return object()  # type: ignore[return-value]  # the mistake this test is about

    async with job_service([odd]) as running:
        handle = await running.jobs.publish(odd, 1)
        with pytest.raises(JobFailedError) as raised:
            await handle.result(timeout=PATIENCE)
        assert raised.value.reason is DeadReason.REJECTED
        assert runs == [1]


async def test_what_nobody_can_do_is_dead_at_once(job_service: StartJobs) -> None:
    """An unknown name, and a payload of another shape."""
    async with job_service([double]) as running:
        unknown = await running.jobs.publish("nobody.knows", {"a": 1})
        wrong = await running.jobs.publish_many(
            [Job(id="wrong-1", name="report.double", body='{"owner": "nobody"}')]
        )
        with pytest.raises(JobFailedError) as raised:
            await unknown.result(timeout=PATIENCE)
        assert raised.value.reason is DeadReason.UNKNOWN
        with pytest.raises(JobFailedError) as raised:
            await wrong[0].result(timeout=PATIENCE)
        assert raised.value.reason is DeadReason.INVALID


async def test_a_job_that_waited_too_long_is_not_started(job_service: StartJobs) -> None:
    """It expires."""
    async with job_service([echo], work=False) as publisher:
        handle = await publisher.jobs.publish(echo, 1, expires_in=SOON)
        await asyncio.sleep(0.1)
        async with job_service([echo]) as running:
            with pytest.raises(JobFailedError) as raised:
                await handle.result(timeout=PATIENCE)
            assert raised.value.reason is DeadReason.EXPIRED
            assert running.told(JobStarted) == []


async def test_a_job_that_has_expired_can_be_replayed(job_service: StartJobs) -> None:
    """Its age counts from then."""
    expires = timedelta(seconds=1)
    async with job_service([echo], work=False) as publisher:
        handle = await publisher.jobs.publish(echo, 1, expires_in=expires)
        await asyncio.sleep(1.1)
        async with job_service([echo]) as running:
            with pytest.raises(JobFailedError):
                await handle.result(timeout=PATIENCE)
            assert await running.engine.replay("default", handle.id)
            assert await handle.result(timeout=PATIENCE) == 1


async def test_a_key_keeps_equal_jobs_out(job_service: StartJobs) -> None:
    """Until the job has ended, or for a window."""
    runs: list[str] = []

    @job("once")
    async def once(value: str) -> None:
        runs.append(value)

    until_done = Deduplication(key="a")
    window = Deduplication(key="b", window=timedelta(milliseconds=400))
    async with job_service([once], work=False) as publisher:
        first = await publisher.jobs.publish(once, "first", deduplication=until_done)
        second = await publisher.jobs.publish(once, "second", deduplication=until_done)
        assert first.id == second.id
        async with job_service([once]):
            await first.result(timeout=PATIENCE)
            third = await publisher.jobs.publish(once, "third", deduplication=until_done)
            await third.result(timeout=PATIENCE)
            windowed = await publisher.jobs.publish(once, "fourth", deduplication=window)
            await windowed.result(timeout=PATIENCE)
            again = await publisher.jobs.publish(once, "fifth", deduplication=window)
            assert again.id == windowed.id
            await asyncio.sleep(0.5)
            later = await publisher.jobs.publish(once, "sixth", deduplication=window)
            await later.result(timeout=PATIENCE)
    assert runs == ["first", "third", "fourth", "sixth"]


async def test_a_key_holds_for_its_window_whatever_becomes_of_the_job(
    job_service: StartJobs,
) -> None:
    """Here it is cancelled."""
    window = Deduplication(key="b", window=timedelta(minutes=1))
    async with job_service([echo], work=False) as publisher:
        first = await publisher.jobs.publish(echo, 1, deduplication=window)
        assert await first.cancel()
        again = await publisher.jobs.publish(echo, 2, deduplication=window)
        assert again.id == first.id


async def test_a_waiting_job_is_cancelled_at_once(job_service: StartJobs) -> None:
    """Also a delayed one; it never runs."""
    async with job_service([echo], work=False) as publisher:
        waiting = await publisher.jobs.publish(echo, 1)
        delayed = await publisher.jobs.publish(echo, 2, delay=timedelta(hours=1))
        assert await waiting.cancel()
        assert await delayed.cancel()
        with pytest.raises(JobCancelledError):
            await waiting.result(timeout=PATIENCE)
        with pytest.raises(JobCancelledError):
            await delayed.result(timeout=PATIENCE)
        assert not await waiting.cancel()
        async with job_service([echo]) as running:
            done = await running.jobs.publish(echo, 3)
            await done.result(timeout=PATIENCE)
            assert len(running.told(JobStarted)) == 1


async def test_a_running_job_is_interrupted(job_service: StartJobs) -> None:
    """By `CancelledError` at its `await`; the worker goes on."""
    begun = asyncio.Event()

    @job("long")
    async def long(_value: int) -> None:
        begun.set()
        await asyncio.sleep(60)

    async with job_service([long, echo], worker_concurrency=1) as running:
        handle = await running.jobs.publish(long, 1)
        await begun.wait()
        assert await handle.cancel()
        with pytest.raises(JobCancelledError):
            await handle.result(timeout=PATIENCE)
        after = await running.jobs.publish(echo, 5)
        assert await after.result(timeout=PATIENCE) == 5


async def test_a_job_is_interrupted_once(job_service: StartJobs) -> None:
    """Its handler can clean up, for longer than it takes to look which jobs were cancelled."""
    begun = asyncio.Event()
    cleaned: list[int] = []

    @job("long")
    async def long(value: int) -> None:
        try:
            begun.set()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(1.2)
            cleaned.append(value)

    async with job_service([long]) as running:
        handle = await running.jobs.publish(long, 1)
        await begun.wait()
        assert await handle.cancel()
        with pytest.raises(JobCancelledError):
            await handle.result(timeout=PATIENCE)
    assert cleaned == [1]


async def test_an_id_may_be_used_in_two_queues(job_service: StartJobs) -> None:
    """Cancelling one of the two interrupts that one, though the same process runs both."""
    started: list[str] = []
    go_on = asyncio.Event()

    @job("patient")
    async def patient(queue: str) -> str:
        started.append(queue)
        await go_on.wait()
        return queue

    async with job_service([patient], worker_queues="one,two") as running:
        handles = {}
        for queue in ("one", "two"):
            handles[queue] = await running.jobs.publish(patient, queue, id="same", queue=queue)
            async with asyncio.timeout(PATIENCE):
                while queue not in started:  # noqa: ASYNC110 - of a worker
                    await asyncio.sleep(0.01)
        assert await handles["one"].cancel()
        with pytest.raises(JobCancelledError):
            await handles["one"].result(timeout=PATIENCE)
        go_on.set()
        assert await handles["two"].result(timeout=PATIENCE) == "two"


async def test_progress_can_be_seen(job_service: StartJobs) -> None:
    """Any JSON."""
    go_on, reported = asyncio.Event(), asyncio.Event()

    @job("steps")
    async def steps(value: int, context: JobContext) -> None:
        await context.progress({"done": value})
        reported.set()
        await go_on.wait()

    async with job_service([steps]) as running:
        handle = await running.jobs.publish(steps, 40)
        await reported.wait()
        assert await handle.progress() == {"done": 40}
        assert await handle.state() is JobState.ACTIVE
        go_on.set()
        await handle.result(timeout=PATIENCE)


async def test_a_job_runs_when_those_it_depends_on_are_done(job_service: StartJobs) -> None:
    """And reads their results."""

    @job("sum")
    async def total(_label: str, context: JobContext) -> int:
        return sum((await context.children_results()).values())

    async with job_service([total, echo]) as running:
        jobs = running.jobs
        children = [jobs.prepare(echo, number) for number in (1, 2, 3)]
        handle = await jobs.publish_after(jobs.prepare(total, "all"), children)
        assert await handle.result(timeout=PATIENCE) == 6


async def test_a_job_dies_with_one_it_depends_on(job_service: StartJobs) -> None:
    """It is not started."""

    @job("fails", attempts=1)
    async def fails(_value: int) -> None:
        raise ValueError

    async with job_service([fails, echo]) as running:
        jobs = running.jobs
        handle = await jobs.publish_after(
            jobs.prepare(echo, 1), [jobs.prepare(fails, 1), jobs.prepare(echo, 2)]
        )
        with pytest.raises(JobFailedError) as raised:
            await handle.result(timeout=PATIENCE)
        assert raised.value.reason is DeadReason.CHILD


@pytest.mark.parametrize("way", ["cancel", "purge"])
async def test_a_job_dies_when_one_it_depends_on_is_taken_away(
    job_service: StartJobs, way: str
) -> None:
    """It would wait for ever; stock BullMQ deletes it with its last child."""
    async with job_service([echo], work=False) as running:
        jobs = running.jobs
        children = [jobs.prepare(echo, number) for number in (1, 2)]
        handle = await jobs.publish_after(jobs.prepare(echo, 3, queue="later"), children)
        if way == "cancel":
            assert await jobs.handle("default", children[0].id).cancel()
        else:
            assert await running.engine.purge("default", JobState.WAITING) == 2
        async with job_service([echo], worker_queues="later"):
            with pytest.raises(JobFailedError) as raised:
                await handle.result(timeout=PATIENCE)
            assert raised.value.reason is DeadReason.CHILD


async def test_what_a_job_depends_on_is_new(job_service: StartJobs) -> None:
    """Another one may have ended, or be another job's; the same family again changes nothing."""
    async with job_service([echo], work=False) as running:
        jobs = running.jobs
        old = jobs.prepare(echo, 1)
        await jobs.publish_many([old])
        family = jobs.prepare(echo, 2), [jobs.prepare(echo, 3)]
        await jobs.publish_after(*family)
        for child in (old, family[1][0]):
            parent = jobs.prepare(echo, 4)
            with pytest.raises(InvalidJobError, match=f"{child.id}.* was published before"):
                await jobs.publish_after(parent, [jobs.prepare(echo, 5), child])
            with pytest.raises(UnknownJobError):
                await jobs.handle("default", parent.id).state()
        with pytest.raises(InvalidJobError, match="echo can't be deduplicated"):
            await jobs.publish_after(
                jobs.prepare(echo, 6),
                [jobs.prepare(echo, 7, deduplication=Deduplication(key="k"))],
            )
        await jobs.publish_after(*family)
        (overview,) = await running.admin.overview()
        assert overview.counts[JobState.WAITING] == 2
        assert overview.counts[JobState.BLOCKED] == 1


async def test_a_job_waits_for_all_it_was_published_with(job_service: StartJobs) -> None:
    """Published again after an error, with children whose ids are made up, there are more."""

    @job("sum")
    async def total(_label: str, context: JobContext) -> int:
        return sum((await context.children_results()).values())

    async with job_service([echo, total], work=False) as publisher:
        jobs = publisher.jobs
        parent = jobs.prepare(total, "all", id="family")
        await jobs.publish_after(parent, [jobs.prepare(echo, 1, queue="first")])
        handle = await jobs.publish_after(parent, [jobs.prepare(echo, 1, queue="second")])
        async with job_service([echo, total], worker_queues="default,first"):
            with pytest.raises(JobTimeoutError):
                await handle.result(timeout=0.5)
            async with job_service([echo], worker_queues="second"):
                assert await handle.result(timeout=PATIENCE) == 2


async def test_a_paused_queue_starts_nothing_until_it_is_resumed(job_service: StartJobs) -> None:
    """Jobs can be published meanwhile."""
    async with job_service([echo]) as running:
        await running.admin.pause("default")
        handle = await running.jobs.publish(echo, 1)
        with pytest.raises(JobTimeoutError):
            await handle.result(timeout=0.3)
        (overview,) = await running.admin.overview()
        assert (overview.paused, overview.counts[JobState.WAITING]) == (True, 1)
        await running.admin.resume("default")
        assert await handle.result(timeout=PATIENCE) == 1


async def test_bad_jobs_are_refused_where_they_are_published(job_service: StartJobs) -> None:
    """With a sentence, and before anything is sent."""
    async with job_service([double], work=False) as running:
        jobs: JobQueue = running.jobs
        mistakes: list[dict[str, Any]] = [
            {"priority": 4},
            {"attempts": 0},
            {"queue": "a:b"},
            {"delay": timedelta(seconds=-1)},
            {"timeout": timedelta()},
            {"expires_in": timedelta()},
            {"id": "1"},
            {"id": "a:b"},
            {"id": "wait"},
            {"nonsense": 1},
        ]
        for name in ("", "x" * 256, "a\nb", "\ud800"):
            with pytest.raises(InvalidJobError, match="name"):
                await jobs.publish(name, 1)
        for refused in mistakes:
            with pytest.raises(InvalidJobError):
                await jobs.publish("any", 1, **refused)
        with pytest.raises(InvalidJobError, match="bytes"):
            await jobs.publish("any", "x" * 300_000)
        deep: list[object] = []
        for _ in range(40):
            deep = [deep]
        with pytest.raises(InvalidJobError, match="levels deep"):
            await jobs.publish("any", deep)
        with pytest.raises(InvalidJobError, match="JSON"):
            await jobs.publish("any", object())
        with pytest.raises(UnknownJobError):
            await jobs.handle("default", "nobody").result(timeout=PATIENCE)
