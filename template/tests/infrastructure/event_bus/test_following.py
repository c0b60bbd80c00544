"""Followers hold a bounded number of events, and hurt nobody."""

from __future__ import annotations

import asyncio
import tracemalloc
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from app.core.events import Envelope, Event
from app.infrastructure.event_bus import Follower, Retry, SlowFollowerError, on
from app.infrastructure.event_bus.local.transport import MOST_KEPT
from app.infrastructure.event_bus.ports import Received
from tests.infrastructure.event_bus.conftest import Cancelled, Placed, Start


class Opened(Event):
    name = "order.opened"

    source: Any


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> str:
    """Inside one process: the followers are the same on all."""
    monkeypatch.setenv("EVENT_BUS_TRANSPORT", "local")
    return "local"


async def test_a_slow_one_is_cut_off_and_the_others_read_on(start: Start) -> None:
    process = await start()
    async with process.bus.follow(buffer=3) as slow, process.bus.follow(buffer=10) as quick:
        for number in range(5):
            await process.events.publish(Placed(number=number))
        assert (await anext(quick)).envelope.read(Placed).number == 0
        with pytest.raises(SlowFollowerError):
            await anext(slow)
        with pytest.raises(SlowFollowerError):
            await anext(slow)


async def test_a_handler_that_fails_is_not_the_publishers_matter_whatever_the_event_holds(
    start: Start,
) -> None:
    """Inside one process an event need not be fit to travel."""

    @on(retry=Retry(attempts=1))
    async def fail(_event: Opened) -> None:
        raise OSError

    process = await start(fail)
    await process.events.publish(Opened(source=object()))

    (dead,) = await process.bus.transport.dead(1)
    assert (dead.handler, dead.body, dead.envelope) == (fail.name, "", None)


async def test_only_what_is_wanted_takes_room(start: Start) -> None:
    def odd(received: Received) -> bool:
        return received.envelope.read(Placed).number % 2 == 1

    process = await start()
    async with process.bus.follow("order.placed", where=odd, buffer=2) as follower:
        for number in range(4):
            await process.events.publish(Cancelled(number=number))
            await process.events.publish(Placed(number=number))
        seen = [(await anext(follower)).envelope.read(Placed).number for _ in range(2)]

    assert seen == [1, 3]


async def test_a_filter_that_fails_is_nobody_elses_matter(start: Start) -> None:
    def fail(_: Received) -> bool:
        raise ZeroDivisionError

    process = await start()
    async with process.bus.follow(where=fail), process.bus.follow() as other:
        await process.events.publish(Placed(number=1))
        assert (await anext(other)).envelope.name == "order.placed"


async def test_followers_come_to_their_end_when_the_service_stops(start: Start) -> None:
    process = await start()
    seen: list[str] = []

    async def read() -> None:
        async with process.bus.follow() as follower:
            seen.extend([item.envelope.name async for item in follower])

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    await process.events.publish(Placed(number=1))
    await process.stop()

    await asyncio.wait_for(reading, 60)
    assert seen == ["order.placed"]


async def test_an_id_that_is_not_kept_any_more_is_told(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENT_BUS_WINDOW", "100")
    process = await start()
    ids: list[str] = []
    async with process.bus.follow(buffer=1000) as follower:
        for number in range(150):
            await process.events.publish(Placed(number=number))
            ids.append((await anext(follower)).stream_id)

    kept = await process.bus.since(ids[49])
    assert kept.is_complete
    assert [item.envelope.read(Placed).number for item in kept.items] == list(range(50, 150))
    assert not (await process.bus.since(ids[48])).is_complete


async def test_what_is_kept_in_memory_is_bounded(start: Start) -> None:
    process = await start()
    for number in range(MOST_KEPT):
        await process.events.publish(Placed(number=number))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(MOST_KEPT):
        await process.events.publish(Placed(number=number))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    # As many new ones, counted, in place of old ones, not counted: about 1 KiB each.
    assert grown < MOST_KEPT * 2048


async def test_more_than_is_asked_for_is_not_read_again(start: Start) -> None:
    """So that many who come back at once cost a bounded amount of memory."""
    process = await start()
    async with process.bus.follow() as follower:
        await process.events.publish(Placed(number=0))
        first = (await anext(follower)).stream_id
    for number in range(1, 4):
        await process.events.publish(Placed(number=number))
    async with process.bus.follow(after=first, most=3) as follower:
        assert follower.is_complete
        seen = [(await anext(follower)).envelope.read(Placed).number for _ in range(3)]
    assert seen == [1, 2, 3]
    async with process.bus.follow(after=first, most=2) as follower:
        assert not follower.is_complete


async def test_who_has_read_all_knows_how_far_that_is(start: Start) -> None:
    """Past what was not for him; not while something waits."""
    process = await start()
    async with process.bus.follow("order.placed") as follower:
        assert follower.began_at == process.bus.position
        await process.events.publish(Placed(number=1))
        assert follower.seen(process.bus.position) is None
        placed = (await anext(follower)).stream_id
        assert follower.seen(process.bus.position) == placed
        await process.events.publish(Cancelled(number=2))
        seen = follower.seen(process.bus.position)
    assert seen == process.bus.position
    assert seen is not None
    assert seen != placed
    async with process.bus.follow(after=seen) as again:
        await process.events.publish(Placed(number=3))
        assert (await anext(again)).envelope.read(Placed).number == 3


def test_a_gap_before_an_event_that_is_not_wanted_is_not_forgotten() -> None:
    follower = Follower(lambda received: received.stream_id == "3-0", 10)
    envelope = Envelope(
        id=uuid4(), name="order.placed", version=1, occurred_at=datetime.now(UTC), source="test"
    )
    follower.take(Received("2-0", envelope, after_gap=True))
    assert follower.missed
    assert follower.seen("2-0") is None  # he has not been told
