"""Events over Redis Streams: the dead process, the poison, the trimmed, the lost server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from app.core.ids import new_id
from app.infrastructure.event_bus import RejectEventError, Retry, on
from app.infrastructure.event_bus_redis.streams import EVENT
from app.infrastructure.redis import KeySpace
from tests.infrastructure.event_bus.conftest import (
    Placed,
    Start,
    prefix,
    shared,
    start,
    until,
    until_dead,
)

__all__ = ["prefix", "shared", "start"]
PROGRAM = Path(__file__).with_name("program.py")


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> str:
    """This one alone."""
    monkeypatch.setenv("EVENT_BUS_TRANSPORT", "redis")
    monkeypatch.setenv("EVENT_BUS_CLAIM_IDLE", "1")
    return "redis"


@pytest.fixture
def stream(keys: KeySpace) -> str:
    """The key of the stream."""
    return keys.tagged("events", "stream")


async def test_entries_of_another_shape_are_put_away(
    start: Start, redis: Redis, stream: str
) -> None:
    process = await start()
    for fields in ({"else": "x"}, {EVENT: b"\xff\xfe"}):
        await redis.xadd(stream, fields)  # type: ignore[arg-type]  # redis-py wants a wider dict

    assert {item.body for item in await until_dead(process, 2)} == {"", "\udcff\udcfe"}


async def test_a_fault_of_the_client_ends_no_loop(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the `AttributeError` of redis-py for a connection that is closed meanwhile."""
    faults: list[str] = []

    def failing_once(name: str) -> None:
        asked = getattr(Redis, name)

        async def ask(self: Redis, *args: Any, **options: Any) -> Any:
            if name not in faults:
                faults.append(name)
                raise AttributeError(name)
            return await asked(self, *args, **options)

        monkeypatch.setattr(Redis, name, ask)

    for name in ("xreadgroup", "xread"):
        failing_once(name)
    got: list[int] = []
    heard: list[int] = []

    @on()
    async def handle(event: Placed) -> None:
        got.append(event.number)

    @on(everywhere=True)
    async def hear(event: Placed) -> None:
        heard.append(event.number)

    process = await start(handle, hear)
    await until(lambda: sorted(faults) == ["xread", "xreadgroup"])
    await process.events.publish(Placed(number=1))

    await until(lambda: (got, heard) == ([1], [1]))


@pytest.mark.parametrize("setting", ["EVENT_BUS_CONSUME", "APP_SIDE_WORK"])
async def test_events_wait_for_the_group(
    start: Start, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    """Published by a process that does not consume, before any that does was ever there."""
    got: list[int] = []

    @on()
    async def handle(event: Placed) -> None:
        got.append(event.number)

    monkeypatch.setenv(setting, "false")
    publisher = await start(handle)
    for number in range(30):
        await publisher.events.publish(Placed(number=number))
    await asyncio.sleep(0.3)
    assert got == []

    monkeypatch.setenv(setting, "true")
    await start(handle)
    await until(lambda: len(got) == 30)

    assert sorted(got) == list(range(30))


async def test_what_one_gives_back_another_takes_at_once(
    start: Start, redis: Redis, stream: str, keys: KeySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what its connection had brought, and what nobody here has looked at yet."""
    monkeypatch.setenv("APP_SHUTDOWN_TIMEOUT", "4")
    monkeypatch.setenv("EVENT_BUS_CLAIM_IDLE", "3600")
    monkeypatch.setenv("EVENT_BUS_CONCURRENCY", "1")
    begun = asyncio.Event()
    got: list[int] = []

    @on()
    async def stuck(_event: Placed) -> None:
        begun.set()
        await asyncio.sleep(60)

    first = await start(stuck)
    await first.events.publish(Placed(number=1))
    await asyncio.wait_for(begun.wait(), 60)
    await first.events.publish(Placed(number=2))
    (consumer,) = await redis.xinfo_consumers(stream, keys.prefix)
    await redis.xreadgroup(keys.prefix, consumer["name"], {stream: ">"})  # its answer is lost
    await first.stop()

    @on()
    async def handle(event: Placed) -> None:
        got.append(event.number)

    await start(handle)
    await until(lambda: got == [1, 2])


async def test_an_event_whose_handler_takes_long_is_not_taken_by_others(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than twice `EVENT_BUS_CLAIM_IDLE`: its process says that it is still at it."""
    monkeypatch.setenv("EVENT_BUS_CLAIM_IDLE", "3")  # of which a loaded machine may lose two
    calls: list[int] = []

    @on()
    async def slow(event: Placed) -> None:
        calls.append(event.number)
        await asyncio.sleep(7)
        calls.append(-event.number)

    first, _ = await start(slow), await start(slow)
    await first.events.publish(Placed(number=1))
    await until(lambda: len(calls) == 2)
    await asyncio.sleep(0.3)

    assert calls == [1, -1]


async def test_what_can_not_be_put_away_is_not_acknowledged(
    start: Start, redis: Redis, stream: str, keys: KeySpace
) -> None:
    """As when the server has no memory left: it comes again, and is put away then."""
    calls: list[int] = []

    @on(retry=Retry(attempts=1))
    async def fail(event: Placed) -> None:
        calls.append(event.number)
        raise RejectEventError

    dead = keys.tagged("events", "dead", keys.prefix)
    await redis.set(dead, "no stream")
    process = await start(fail)
    await process.events.publish(Placed(number=1))
    await until(lambda: calls)
    await asyncio.sleep(0.2)
    assert (await redis.xpending(stream, keys.prefix))["pending"] == 1

    await redis.delete(dead)
    assert len(await until_dead(process, 1)) == 1


async def test_what_was_trimmed_is_told_to_who_reads_on(
    start: Start, redis: Redis, stream: str
) -> None:
    process = await start()
    for number in range(10):
        await process.events.publish(Placed(number=number))
    ids = [str(entry[0]) for entry in await redis.xrange(stream) or []]
    await redis.xtrim(stream, maxlen=5, approximate=False)

    assert not (await process.bus.since(ids[3])).is_complete
    whole = await process.bus.since(ids[5])
    assert whole.is_complete
    assert [item.stream_id for item in whole.items] == ids[6:]
    assert (await process.bus.since(ids[-1])).is_complete


async def test_a_server_that_lost_its_data_is_used_again(
    start: Start, redis: Redis, stream: str
) -> None:
    got: list[int] = []

    @on()
    async def handle(event: Placed) -> None:
        got.append(event.number)

    process = await start(handle)
    await process.events.publish(Placed(number=1))
    await until(lambda: got == [1])
    await redis.delete(stream)
    await process.events.publish(Placed(number=2))
    await until(lambda: got == [1, 2])


def environment(keys: KeySpace, redis_url: str) -> Mapping[str, str]:
    return {
        **os.environ,
        "APP_NAME": keys.prefix,
        "REDIS_URL": redis_url,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "EVENT_BUS_TRANSPORT": "redis",
        "EVENT_BUS_CLAIM_IDLE": "1",
        "EVENT_BUS_CONSUME": "true",
        "EVENT_BUS_DELIVERIES": "2",
        "LOG_LEVEL": "WARNING",
    }


async def run(ledger: Path, env: Mapping[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), str(ledger), env=env, stdin=asyncio.subprocess.DEVNULL
    )


@pytest.mark.slow
async def test_killed_processes_lose_nothing_and_a_killer_is_put_away(
    start: Start, keys: KeySpace, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes; each that handles 13 is killed by it, twice; then it is dead, and only it."""
    monkeypatch.setenv("EVENT_BUS_CONSUME", "false")
    publisher = await start()
    ledger = tmp_path / "ledger"
    env = environment(keys, redis_url)
    for number in range(40):
        await publisher.events.publish(Placed(number=number))
    deaths = 0
    running = [await run(ledger, env), await run(ledger, env)]
    expected = {number for number in range(40) if number != 13}

    def handled() -> set[int]:
        return {int(line) for line in ledger.read_text().split()} if ledger.exists() else set()

    try:
        async with asyncio.timeout(120):
            while handled() != expected or deaths < 2:
                await asyncio.sleep(0.1)
                for process in [item for item in running if item.returncode is not None]:
                    assert process.returncode == -signal.SIGKILL
                    deaths += 1
                    running.remove(process)
                    running.append(await run(ledger, env))
        dead = await until_dead(publisher, 1)
    finally:
        for process in running:
            process.terminate()
        codes = [await process.wait() for process in running]

    assert [item.reason for item in dead] == ["2 processes have died of it"]
    assert deaths == 2
    assert set(codes) <= {0, -signal.SIGTERM}  # the latter: it had only begun to start


async def test_its_own_id_makes_a_replay_recognisable(start: Start) -> None:
    seen: list[object] = []

    @on()
    async def handle(_event: Placed) -> None:
        seen.append(1)

    process = await start(handle)
    published = await process.events.publish(Placed(number=1))
    await process.bus.deliver([published])
    await until(lambda: len(seen) == 2)
    history = (await process.bus.since("0")).items

    assert [item.envelope.id for item in history] == [published.id] * 2
    assert published.id != new_id()
