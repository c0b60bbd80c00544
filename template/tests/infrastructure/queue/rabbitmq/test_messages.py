"""What may lie in the broker, and what the broker may do with it."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from datetime import timedelta
from struct import pack
from typing import Any

import pytest
from aiormq import Channel
from pamqp.commands import Basic
from redis.asyncio import Redis

from app.core.errors import ConfigurationError
from app.infrastructure.logger.testing import LogLines
from app.infrastructure.queue import (
    DeadReason,
    JobContext,
    JobState,
    QueueLimits,
    QueueUnavailableError,
    RejectJobError,
    job,
)
from app.infrastructure.queue.events import JobStarted
from app.infrastructure.queue.rabbitmq import conductor, consumer, frames
from app.infrastructure.queue.rabbitmq import graveyard as graveyards
from app.infrastructure.queue.rabbitmq.publisher import Publisher
from app.infrastructure.queue.rabbitmq.records import Records
from app.infrastructure.queue.rabbitmq.topology import graveyard, lane
from app.infrastructure.queue.rabbitmq.wire import read_message
from app.infrastructure.queue.testing import StartJobs
from app.infrastructure.redis.keys import KeySpace

PATIENCE = 60.0


@job("echo")
async def echo(value: int) -> int:
    return value


async def test_anybody_may_publish_a_job(
    job_service: StartJobs, channel: Channel, keys: KeySpace
) -> None:
    """With an id, a name and a body; the rest is as for any other job."""
    async with job_service([echo]) as running:
        said = Basic.Properties(message_id="from-elsewhere", message_type="echo", delivery_mode=2)
        name = lane(keys.prefix, "default", 0)
        await channel.basic_publish(b"42", routing_key=name, properties=said, mandatory=True)
        handle = running.jobs.handle("default", "from-elsewhere")
        async with asyncio.timeout(PATIENCE):
            while await running.engine.find("default", handle.id) is None:  # noqa: ASYNC110 - of Redis
                await asyncio.sleep(0.01)
        assert await handle.result(timeout=PATIENCE) == 42
        assert (await handle.record()).attempts == 3


def nonsense(rng: random.Random) -> tuple[bytes, Basic.Properties]:
    """Return a message that is nearly a job, or not at all."""
    bodies = [b"", b"{", b"\xff\xfe\x00", b"[" * 5000, b"null", b'"\\ud800"', rng.randbytes(20)]
    headers: list[str | int | None] = [
        None,
        "{",
        "[]",
        '{"turn":"x"}',
        '{"options":{"attempts":"many"}}',
        '{"options":{"backoff":[]}}',
        '{"options":{"delay":1e400}}',
        '{"headers":[1]}',
        '{"due":-5,"created":"yesterday"}',
        "[" * 5000,
        7,
    ]
    names: list[str | None] = ["echo", "nobody", "", None]
    ids = [f"raw-{secrets.token_hex(6)}", "", "x" * 254, "a:b:c"]
    header = rng.choice(headers)
    said = Basic.Properties(
        message_id=rng.choice(ids) or secrets.token_hex(8),
        message_type=rng.choice(names),
        headers={} if header is None else {"job": header},
    )
    return rng.choice([*bodies, b"1"]), said


async def test_nonsense_in_the_broker_harms_nothing_behind_it(
    job_service: StartJobs, channel: Channel, keys: KeySpace
) -> None:
    """It is dead with its bytes, or does what little it says."""
    rng = random.Random(7)  # noqa: S311 - the same each time
    async with job_service([echo]) as running:
        name = lane(keys.prefix, "default", 0)
        sent: set[bytes] = set()
        for _ in range(300):
            body, said = nonsense(rng)
            sent.add(body)
            await channel.basic_publish(body, routing_key=name, properties=said, mandatory=True)
        handle = await running.jobs.publish(echo, 5)
        assert await handle.result(timeout=PATIENCE) == 5
        async with asyncio.timeout(PATIENCE):
            while (await channel.queue_declare(name, passive=True)).message_count:  # noqa: ASYNC110 - of a broker
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        counts = await running.engine.counts("default")
        assert counts[JobState.WAITING] + counts[JobState.ACTIVE] + counts[JobState.DELAYED] == 0
        dead = await running.engine.list_jobs("default", JobState.DEAD, limit=1000)
        assert {record.reason for record in dead} >= {DeadReason.UNDECODABLE, DeadReason.UNKNOWN}
        kept = {record.body.encode("utf-8", "surrogateescape") for record in dead}
        assert kept <= sent
        assert b"\xff\xfe\x00" in kept


async def test_what_is_no_job_can_be_replayed_and_is_dead_again(
    job_service: StartJobs, channel: Channel, keys: KeySpace
) -> None:
    """It would wait for ever if the turn of its second message could not be read."""
    async with job_service([echo]) as running:
        said = Basic.Properties(message_id="no-job", message_type="echo", delivery_mode=2)
        name = lane(keys.prefix, "default", 0)
        await channel.basic_publish(b"{", routing_key=name, properties=said, mandatory=True)
        handle = running.jobs.handle("default", "no-job")

        async def dead() -> JobState | None:
            found = await running.engine.find("default", "no-job")
            return found.state if found else None

        for _ in range(2):
            async with asyncio.timeout(PATIENCE):
                while await dead() is not JobState.DEAD:  # noqa: ASYNC110 - of a worker
                    await asyncio.sleep(0.02)
            record = await handle.record()
            assert (record.reason, record.body) == (DeadReason.UNDECODABLE, "{")
            assert await running.engine.replay("default", "no-job")


async def test_a_job_redis_has_forgotten_is_done_all_the_same(
    job_service: StartJobs, redis: Redis, keys: KeySpace
) -> None:
    """The message holds all of it."""
    seen: list[str] = []

    @job("remember", attempts=2)
    async def remember(value: str, context: JobContext) -> None:
        seen.append(f"{value} {context.job.headers['tenant']} {context.attempt}")

    async with job_service([remember], work=False) as publisher:
        await publisher.jobs.publish(remember, "now", headers={"tenant": "a"})
        soon = timedelta(milliseconds=300)
        await publisher.jobs.publish(remember, "later", headers={"tenant": "b"}, delay=soon)
        await asyncio.sleep(0.1)
        async for key in redis.scan_iter(match=f"{{{keys.prefix}}}:*"):
            await redis.delete(key)
        async with job_service([remember]) as running, asyncio.timeout(PATIENCE):
            while len(seen) < 2:  # noqa: ASYNC110 - of a worker
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.1)
            assert (await running.engine.counts("default"))[JobState.COMPLETED] == 2
    assert sorted(seen) == ["later b 1", "now a 1"]


async def test_a_message_that_comes_twice_is_done_once(
    job_service: StartJobs, channel: Channel, keys: KeySpace
) -> None:
    """While the job runs, and after it."""
    runs: list[int] = []
    go_on = asyncio.Event()

    @job("once")
    async def once(value: int) -> None:
        runs.append(value)
        await go_on.wait()

    async with job_service([once]) as running:
        handle = await running.jobs.publish(once, 1, id="twice")
        said = Basic.Properties(message_id="twice", message_type="once", delivery_mode=2)
        name = lane(keys.prefix, "default", 0)
        await channel.basic_publish(b"1", routing_key=name, properties=said, mandatory=True)
        await asyncio.sleep(0.3)
        go_on.set()
        await handle.result(timeout=PATIENCE)
        await channel.basic_publish(b"1", routing_key=name, properties=said, mandatory=True)
        await asyncio.sleep(0.3)
        assert (await channel.queue_declare(name, passive=True)).message_count == 0
    assert runs == [1]


async def test_what_the_broker_gives_up_is_dead_and_can_be_replayed(
    job_service: StartJobs, channel: Channel, keys: KeySpace
) -> None:
    """Here by a rejection; a policy with a length or an age does the same."""
    async with job_service([echo], work=False) as publisher:
        handle = await publisher.jobs.publish(echo, 4)
        taken = await channel.basic_get(lane(keys.prefix, "default", 0))
        assert taken.delivery_tag is not None
        await channel.basic_reject(taken.delivery_tag, requeue=False)
        async with job_service([echo]) as running:
            async with asyncio.timeout(PATIENCE):
                while await handle.state() is not JobState.DEAD:  # noqa: ASYNC110 - of a worker
                    await asyncio.sleep(0.02)
            record = await handle.record()
            assert record.last_failure is not None
            assert "rejected" in record.last_failure.message
            assert await running.engine.replay("default", handle.id)
            assert await handle.result(timeout=PATIENCE) == 4
    name = graveyard(keys.prefix, "default")
    assert (await channel.queue_declare(name, passive=True)).message_count == 0


async def test_what_the_broker_gives_up_while_redis_is_away_is_dead_later(
    job_service: StartJobs, channel: Channel, keys: KeySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of it than is read at once: nothing of it stays in anybody's hands."""
    tries = 0
    bury = Records.bury

    async def away(self: Records, *words: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries <= 3 * graveyards.AT_ONCE:
            raise QueueUnavailableError
        return await bury(self, *words)

    monkeypatch.setattr(Records, "bury", away)
    many = graveyards.AT_ONCE + 2
    async with job_service([echo], work=False) as publisher:
        handles = [await publisher.jobs.publish(echo, number) for number in range(many)]
        for _ in handles:
            taken = await channel.basic_get(lane(keys.prefix, "default", 0))
            assert taken.delivery_tag is not None
            await channel.basic_reject(taken.delivery_tag, requeue=False)
        async with job_service([echo]), asyncio.timeout(PATIENCE):
            while (await publisher.engine.counts("default"))[JobState.DEAD] < many:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_a_job_whose_message_is_lost_is_cancelled_and_replayed(
    job_service: StartJobs, channel: Channel, keys: KeySpace
) -> None:
    """As `docs/queue-rabbitmq.md` says: RabbitMQ has lost its data, Redis has not."""
    async with job_service([echo], work=False) as running:
        handle = await running.jobs.publish(echo, 3)
        await channel.queue_purge(lane(keys.prefix, "default", 0))
        assert not await running.engine.replay("default", handle.id)
        assert await handle.cancel()
        assert await running.engine.replay("default", handle.id)
        async with job_service([echo]):
            assert await handle.result(timeout=PATIENCE) == 3


async def test_a_queue_that_is_declared_otherwise_is_a_clear_error(
    job_service: StartJobs, channel: Channel, keys: KeySpace
) -> None:
    name = lane(keys.prefix, "default", 2)
    await channel.queue_declare(name, durable=True)
    async with job_service(work=False) as running:
        with pytest.raises(ConfigurationError, match="delete_queue"):
            await running.jobs.publish("echo", 1, priority=2)
        await channel.queue_delete(name)
        await running.jobs.publish("echo", 1, priority=2)


@pytest.mark.slow
async def test_a_long_job_does_not_hold_its_message(
    job_service: StartJobs,
    channel: Channel,
    keys: KeySpace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes again later, as often as it takes, and the job runs once."""
    monkeypatch.setattr(consumer, "PARK_AFTER", 0.5)
    runs: list[float] = []

    @job("long")
    async def long(seconds: float) -> float:
        runs.append(seconds)
        await asyncio.sleep(seconds)
        return seconds

    async with job_service([long]) as running:
        handle = await running.jobs.publish(long, 6.0)
        await asyncio.sleep(2.0)
        name = lane(keys.prefix, "default", 0)
        await channel.queue_declare(name, passive=True)
        assert await handle.state() is JobState.ACTIVE
        assert await handle.result(timeout=PATIENCE) == 6.0
        await asyncio.sleep(2.5)
        assert (await channel.queue_declare(name, passive=True)).message_count == 0
    assert runs == [6.0]


async def test_the_last_message_of_a_job_wins(
    job_service: StartJobs, channel: Channel, keys: KeySpace
) -> None:
    """One that was sent before the job went on is void."""
    attempts: list[int] = []

    @job("flaky", attempts=3)
    async def flaky(_value: int, context: JobContext) -> None:
        attempts.append(context.attempt)
        if context.attempt == 1:
            message = "not yet"
            raise ValueError(message)
        raise RejectJobError

    async with job_service([flaky]) as running:
        handle = await running.jobs.publish(flaky, 1, id="late-copy")
        async with asyncio.timeout(PATIENCE):
            while await handle.state() is not JobState.DELAYED:  # noqa: ASYNC110 - of a worker
                await asyncio.sleep(0.01)
        said = Basic.Properties(
            message_id="late-copy",
            message_type="flaky",
            delivery_mode=2,
            headers={"job": json.dumps({"turn": 1})},
        )
        name = lane(keys.prefix, "default", 0)
        await channel.basic_publish(b"1", routing_key=name, properties=said, mandatory=True)
        await asyncio.sleep(0.2)
        assert attempts == [1]
        async with asyncio.timeout(PATIENCE):
            while await handle.state() is not JobState.DEAD:  # noqa: ASYNC110 - of a worker
                await asyncio.sleep(0.02)
    assert attempts == [1, 2]


def test_a_header_nobody_can_read_is_no_job() -> None:
    """Here a timestamp in nanoseconds; the connection has to live on."""
    header = pack(">HHQHQ", 60, 0, 2, 1 << 6, 10**18)

    assert frames._properties(header, 0, len(header)) == frames.Content(None, None, None, b"")


async def test_results_for_a_job_that_was_purged_are_not_kept(
    job_service: StartJobs, redis: Redis, keys: KeySpace
) -> None:
    """Nobody would ever delete them."""
    async with job_service([echo], work=False) as publisher:
        jobs = publisher.jobs
        handle = await jobs.publish_after(jobs.prepare(echo, 1), [jobs.prepare(echo, 2, id="late")])
        assert await handle.cancel()
        assert await publisher.engine.purge("default", JobState.DEAD) == 1
        async with job_service([echo]):
            assert await jobs.handle("default", "late").result(timeout=PATIENCE) == 2
        assert not await redis.exists(f"{{{keys.prefix}}}:rabbitmq:default:k:{handle.id}")


async def test_what_was_purged_never_runs(
    job_service: StartJobs, redis: Redis, keys: KeySpace
) -> None:
    """However late its message comes: nobody worked for long, or its delay goes on for long."""
    day = 86_400_000
    base = f"{{{keys.prefix}}}:rabbitmq:default:j:"
    async with job_service([echo], work=False) as publisher:
        jobs = publisher.jobs
        waiting = await jobs.publish(echo, 1)
        overdue = await jobs.publish(echo, 2, delay=timedelta(milliseconds=100))
        ahead = await jobs.publish(echo, 3, delay=timedelta(days=2))
        due = await redis.hget(base + overdue.id, "due")
        await redis.hset(base + overdue.id, "due", int(due or 0) - 2 * day)
        assert await ahead.cancel()
        for state in (JobState.WAITING, JobState.DELAYED, JobState.DEAD):
            assert await publisher.engine.purge("default", state) == 1
        assert await redis.pttl(base + waiting.id) > 7 * day
        assert await redis.pttl(base + ahead.id) > 9 * day
        async with job_service([echo]) as running:
            await (await running.jobs.publish(echo, 4)).result(timeout=PATIENCE)
            await asyncio.sleep(0.5)
            assert len(running.told(JobStarted)) == 1


@pytest.mark.parametrize(
    ("message_id", "name"), [("\ufffd" * 200, "echo"), ("a1", "\ufffd" * 200), ("a1", "")]
)
def test_names_that_could_not_be_sent_again_make_no_job(message_id: str, name: str) -> None:
    """Bytes that are no UTF-8 are replaced by longer ones; AMQP lets a name have 255."""
    content = frames.Content(message_id, name, None, b"1")

    assert read_message("default", content).job is None


@pytest.mark.parametrize("said", ['{"turn":10000000000000000000}', '{"due":-1}'])
def test_numbers_redis_can_not_count_with_make_no_job(said: str) -> None:
    content = frames.Content("a1", "echo", {"job": said.encode()}, b"1")

    assert read_message("default", content).job is None


async def test_jobs_of_dead_workers_do_not_fill_the_limit(
    job_service: StartJobs, channel: Channel, redis: Redis, keys: KeySpace
) -> None:
    """Their own messages may come late or never; these jobs run, and the others before them."""
    limits = QueueLimits(queue="default", concurrency=2)
    base = f"{{{keys.prefix}}}:rabbitmq:default:"
    async with job_service([echo, limits], work=False) as publisher:
        jobs = publisher.jobs
        lost = await jobs.publish_many([jobs.prepare(echo, n, queue="default") for n in (1, 2)])
        async with asyncio.timeout(PATIENCE):
            while await redis.zcard(base + "unsent"):  # noqa: ASYNC110 - of Redis
                await asyncio.sleep(0.01)
        # As a worker leaves them that has claimed both and is gone; and RabbitMQ lost its memory.
        await channel.queue_purge(lane(keys.prefix, "default", 0))
        for handle in lost:
            await redis.zrem(base + "waiting", handle.id)
            await redis.zadd(base + "active", {handle.id: 1})
            await redis.hset(f"{base}j:{handle.id}", mapping={"state": "active", "worker": "dead"})
        async with job_service([echo, limits]):
            others = await jobs.publish_many([jobs.prepare(echo, n) for n in (3, 4)])
            for handle, value in zip((*others, *lost), (3, 4, 1, 2), strict=True):
                assert await handle.result(timeout=PATIENCE) == value


async def test_a_broken_record_holds_up_nobody(
    job_service: StartJobs, redis: Redis, keys: KeySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message stays in the broker; when the record is gone or mended, the job runs."""
    monkeypatch.setattr(conductor, "BROKEN_AGAIN", 0.5)
    async with job_service([echo], work=False) as publisher:
        jobs = publisher.jobs
        await jobs.publish(echo, 1, id="broken")
        key = f"{{{keys.prefix}}}:rabbitmq:default:j:broken"
        await redis.delete(key)
        await redis.set(key, "no hash")
        others = await jobs.publish_many([jobs.prepare(echo, n) for n in range(20)])
        async with job_service([echo]):
            for number, handle in enumerate(others):
                assert await handle.result(timeout=PATIENCE) == number
            await redis.delete(key)
            async with asyncio.timeout(PATIENCE):
                while not await redis.hexists(key, "ended"):  # noqa: ASYNC110 - of Redis
                    await asyncio.sleep(0.05)
            assert await jobs.handle("default", "broken").result(timeout=PATIENCE) == 1


async def test_messages_that_were_never_sent_are_no_line_each(
    job_service: StartJobs, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    """However many an outage has left."""

    async def refuse(*_: object) -> None:
        raise QueueUnavailableError

    async with job_service([echo], work=False) as publisher:
        jobs = publisher.jobs
        prepared = [jobs.prepare(echo, number) for number in range(50)]
        with monkeypatch.context() as away:
            away.setattr(Publisher, "send", refuse)
            with pytest.raises(QueueUnavailableError):
                await jobs.publish_many(prepared)
        async with job_service([echo]):
            for number, known in enumerate(prepared):
                handle = jobs.handle("default", known.id)
                assert await handle.result(timeout=PATIENCE) == number
    told = [line["message"] for line in log_lines if "never have reached" in line["message"]]
    assert len(told) < 5  # one, unless this machine takes seconds to note that they were sent
    assert all(known.id in told[0] for known in prepared)


async def test_nothing_is_forgotten_beside_a_broken_record(
    job_service: StartJobs, redis: Redis, keys: KeySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong while the jobs are looked at one by one."""
    step = Records.step
    failed: list[str] = []

    async def failing(self: Records, *words: Any) -> Any:
        ids = [arrival.id for arrival in words[3]]
        if len(ids) == 1 and ids[0] != "broken" and len(failed) < 2:
            failed.extend(ids)
            raise ValueError(*ids)
        return await step(self, *words)

    async with job_service([echo], work=False) as publisher:
        jobs = publisher.jobs
        await jobs.publish(echo, 1, id="broken")
        key = f"{{{keys.prefix}}}:rabbitmq:default:j:broken"
        await redis.delete(key)
        await redis.set(key, "no hash")
        others = await jobs.publish_many([jobs.prepare(echo, n) for n in range(20)])
        monkeypatch.setattr(Records, "step", failing)
        async with job_service([echo]) as running:
            for number, handle in enumerate(others):
                assert await handle.result(timeout=PATIENCE) == number
            assert len(failed) == 2
            assert running.worker.silent_queues() == []
        await redis.delete(key)


async def test_two_messages_of_a_job_start_it_once(
    job_service: StartJobs, channel: Channel, keys: KeySpace
) -> None:
    """However close together they come."""
    starts: list[int] = []

    @job("counted")
    async def counted(value: int) -> int:
        starts.append(value)
        await asyncio.sleep(0.01)
        return value

    async with job_service([counted], worker_concurrency=20) as running:
        name = lane(keys.prefix, "default", 0)
        for number in range(200):
            said = Basic.Properties(message_id=f"n-{number}", message_type="counted")
            for _ in range(2):
                await channel.basic_publish(
                    str(number).encode(), routing_key=name, properties=said, mandatory=True
                )
        async with asyncio.timeout(PATIENCE):
            while len(set(starts)) < 200:  # noqa: ASYNC110 - of RabbitMQ
                await asyncio.sleep(0.05)
        for number in range(200):
            handle = running.jobs.handle("default", f"n-{number}")
            assert await handle.result(timeout=PATIENCE) == number
        assert len(starts) == 200
