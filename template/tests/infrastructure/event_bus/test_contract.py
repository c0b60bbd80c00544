"""What every transport promises, on each of them, with real servers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
from dishka import Provider, Scope
from loguru import logger

from app.core import transient
from app.core.errors import AppError
from app.core.events import Envelope, InvalidEventError
from app.core.health import HealthStatus
from app.core.ids import new_id
from app.infrastructure.event_bus import EventBusNotStartedError, RejectEventError, Retry, on
from app.infrastructure.event_bus.module import check
from app.infrastructure.logger import bind_context
from app.infrastructure.logger.testing import LogLines
from tests.infrastructure.event_bus.conftest import (
    PATIENCE,
    Cancelled,
    Placed,
    PlacedLater,
    Process,
    Start,
    until,
    until_dead,
)


class Nonsense(Envelope):
    """What somebody else has put there: its key is all that travels."""

    def to_json(self) -> str:
        return self.key or ""


NONSENSE = ("nonsense", "[]", "", '{"specversion": "1.0"}')
QUICK = Retry(attempts=3, first=timedelta(milliseconds=1))


class Ledger:
    """A service: one for each call of a handler."""

    opened = 0
    closed = 0

    def __init__(self) -> None:
        type(self).opened += 1


async def test_handlers_get_what_they_are_for(start: Start) -> None:
    """By class, by several classes, by pattern; with the envelope; in a thread if not async."""
    got: list[object] = []

    @on()
    async def typed(event: Placed) -> None:
        got.append(event)

    @on("order.#")
    def both(event: Placed | Cancelled, envelope: Envelope) -> None:
        assert threading.current_thread() is not threading.main_thread()
        got.append((type(event).__name__, envelope.key))

    @on("order.*")
    async def any_event(envelope: Envelope) -> None:
        got.append((envelope.name, envelope.data))

    process = await start(typed, both, any_event)
    await process.events.publish(Placed(number=1), key="order:1")
    await until(lambda: len(got) == 3)
    await process.events.publish(Cancelled(number=2))
    await until(lambda: len(got) == 4)

    assert got == [
        Placed(number=1),
        ("Placed", "order:1"),
        ("order.placed", {"number": 1}),
        ("Cancelled", None),
    ]


async def test_services_live_as_long_as_one_call(start: Start) -> None:
    ledgers: list[int] = []

    @on()
    async def with_service(_event: Placed, ledger: Ledger) -> None:
        ledgers.append(id(ledger))

    provider = Provider(scope=Scope.REQUEST)
    provider.provide(Ledger)
    before = Ledger.opened
    process = await start(with_service, providers=(provider,))
    for number in range(3):
        await process.events.publish(Placed(number=number))
    await until(lambda: len(ledgers) == 3)

    assert Ledger.opened - before == 3


async def test_higher_priorities_come_first(start: Start) -> None:
    got: list[str] = []

    @on(priority=-1)
    async def last(_event: Placed) -> None:
        got.append("last")

    @on()
    async def second(_event: Placed) -> None:
        got.append("second")

    @on(priority=10)
    async def first(_event: Placed) -> None:
        got.append("first")

    process = await start(last, second, first)
    await process.events.publish(Placed(number=1))
    await until(lambda: len(got) == 3)

    assert got == ["first", "second", "last"]


async def test_one_that_fails_stops_no_other_and_is_tried_again(start: Start) -> None:
    got: list[str] = []

    @on(priority=1, retry=QUICK)
    async def shaky(_event: Placed) -> None:
        got.append("shaky")
        if got.count("shaky") < 3:
            message = "not yet"
            raise OSError(message)

    @on()
    async def steady(_event: Placed) -> None:
        got.append("steady")

    process = await start(shaky, steady)
    await process.events.publish(Placed(number=1))
    await until(lambda: len(got) == 4)

    assert got == ["shaky", "steady", "shaky", "shaky"]
    assert await process.bus.transport.dead(10) == []


async def test_what_fails_for_good_is_dead_and_can_be_tried_again(start: Start) -> None:
    """Only the handler that failed is called again."""
    got: list[str] = []
    broken = [True]

    @on(retry=QUICK)
    async def shaky(event: Placed) -> None:
        got.append("shaky")
        if broken:
            message = f"no {event.number}"
            raise OSError(message)

    @on()
    async def steady(_event: Placed) -> None:
        got.append("steady")

    process = await start(shaky, steady)
    await process.events.publish(Placed(number=7))
    await until_dead(process, 1)

    (dead,) = await process.bus.transport.dead(10)
    assert (dead.handler, dead.attempts, dead.reason) == (shaky.name, 3, "OSError: no 7")
    assert dead.envelope is not None
    assert dead.envelope.read(Placed) == Placed(number=7)
    async with asyncio.timeout(PATIENCE):  # RabbitMQ takes a moment to count what was looked at
        while (await check(process.container)).status is not HealthStatus.DEGRADED:  # noqa: ASYNC110 - of a broker
            await asyncio.sleep(0.02)

    assert await process.bus.transport.revive(["none of them"], process.bus.redo) == 0
    assert await process.bus.transport.revive(None, process.bus.redo) == 0
    broken.clear()
    got.clear()
    assert await process.bus.transport.revive([dead.id], process.bus.redo) == 1
    assert got == ["shaky"]
    assert await process.bus.transport.dead(10) == []


class Harmless:
    """What a scope gives."""


class Rows:
    """What can't be committed."""


async def rows() -> AsyncIterator[Rows]:
    yield Rows()
    message = "locked"
    raise OSError(message)


async def test_a_commit_that_fails_is_told_as_what_it_is(start: Start) -> None:
    """It comes when the handler has returned, from what its services do at their end."""

    @on(retry=QUICK)
    async def commit(_event: Placed, _rows: Rows) -> None:
        """Do nothing else."""

    provider = Provider(scope=Scope.REQUEST)
    provider.provide(rows)
    process = await start(commit, providers=(provider,))
    await process.events.publish(Placed(number=1))
    await until_dead(process, 1)

    (dead,) = await process.bus.transport.dead(10)
    assert (dead.attempts, dead.reason) == (3, "OSError: locked")


class InTheWayError(AppError):
    """Another transaction was in the way."""

    transient = True


async def test_what_another_transaction_is_in_the_way_of_is_no_failed_attempt(start: Start) -> None:
    """The handler is called again in a scope of its own, with no attempt to spare."""
    calls: list[int] = []

    @on(retry=Retry(attempts=1))
    async def collide(_event: Placed, _rows: Harmless) -> None:
        calls.append(1)
        if len(calls) < 4:
            raise InTheWayError

    provider = Provider(scope=Scope.REQUEST)
    provider.provide(Harmless)
    process = await start(collide, providers=(provider,))
    await process.events.publish(Placed(number=1))
    await until(lambda: len(calls) == 4)
    assert await process.bus.transport.dead(10) == []


async def test_each_attempt_has_a_patience_of_its_own(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the pauses between attempts would use it up."""
    monkeypatch.setattr(transient, "PATIENCE", 0.0)
    calls: list[int] = []

    @on(retry=Retry(attempts=2, first=timedelta(milliseconds=1)))
    async def collide(_event: Placed, _rows: Harmless) -> None:
        calls.append(1)
        raise InTheWayError

    provider = Provider(scope=Scope.REQUEST)
    provider.provide(Harmless)
    process = await start(collide, providers=(provider,))
    await process.events.publish(Placed(number=1))
    await until_dead(process, 1)

    assert len(calls) == 2 * (1 + transient.FEWEST)


async def locked() -> AsyncIterator[Rows]:
    yield Rows()
    raise InTheWayError


async def test_what_was_refused_is_not_done_again(start: Start) -> None:
    """Whatever the handler's services meet while they end."""
    calls: list[int] = []

    @on(retry=QUICK)
    async def refuse(_event: Placed, _rows: Rows) -> None:
        calls.append(1)
        message = "never"
        raise RejectEventError(message)

    provider = Provider(scope=Scope.REQUEST)
    provider.provide(locked)
    process = await start(refuse, providers=(provider,))
    await process.events.publish(Placed(number=1))
    await until_dead(process, 1)

    (dead,) = await process.bus.transport.dead(10)
    assert (len(calls), "never" in dead.reason) == (1, True)


async def test_a_handler_may_refuse_an_event(start: Start) -> None:
    calls: list[int] = []

    @on(retry=QUICK)
    async def refuse(event: Placed) -> None:
        calls.append(event.number)
        raise RejectEventError

    process = await start(refuse)
    await process.events.publish(Placed(number=1))
    await until_dead(process, 1)

    assert calls == [1]


async def test_a_newer_version_is_dead_for_who_does_not_know_it(start: Start) -> None:
    """It stops nobody: who takes any event gets it, and what follows is handled."""
    got: list[str] = []

    @on(retry=QUICK)
    async def old(event: Placed) -> None:
        got.append(f"placed {event.number}")

    @on("order.*")
    async def any_event(envelope: Envelope) -> None:
        got.append(f"version {envelope.version}")

    process = await start(old, any_event)
    await process.events.publish(PlacedLater(number=1))
    await until_dead(process, 1)
    await process.events.publish(Placed(number=2))
    await until(lambda: len(got) == 3)

    assert got == ["version 2", "placed 2", "version 1"]
    (dead,) = await process.bus.transport.dead(10)
    assert (dead.attempts, "known here is 1" in dead.reason) == (1, True)


async def test_a_handler_that_hangs_is_cut_off(start: Start) -> None:
    @on(retry=Retry(attempts=1), timeout=0.05)
    async def hang(_event: Placed) -> None:
        await asyncio.sleep(60)

    process = await start(hang)
    await process.events.publish(Placed(number=1))
    await until_dead(process, 1)

    (dead,) = await process.bus.transport.dead(1)
    assert "it took longer than 0.05 s" in dead.reason


async def test_handlers_that_are_cancelled_from_inside_have_failed(start: Start) -> None:
    @on(retry=Retry(attempts=1))
    async def await_cancelled(_event: Placed) -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        task.cancel()
        await task

    process = await start(await_cancelled)
    await process.events.publish(Placed(number=1))
    await until_dead(process, 1)


async def test_subscribing_and_leaving_at_run_time(start: Start) -> None:
    got: list[str] = []

    async def always(envelope: Envelope) -> None:
        got.append(f"always {envelope.data['number']}")

    async def once(event: Placed) -> None:
        got.append(f"once {event.number}")

    process = await start()
    subscription = process.bus.subscribe("order.#", always)
    process.bus.subscribe("order.placed", once, once=True, priority=1)
    for number in (1, 2):
        await process.events.publish(Placed(number=number))
    await until(lambda: len(got) == 3)
    assert process.bus.unsubscribe(subscription)
    assert not process.bus.unsubscribe(subscription)
    await process.events.publish(Placed(number=3))
    await asyncio.sleep(0.1)

    assert got == ["once 1", "always 1", "always 2"]


async def test_one_of_the_group_handles_it_and_every_process_hears_it(
    start: Start, is_shared: bool
) -> None:
    handled: list[tuple[int, int]] = []
    heard: list[tuple[int, int]] = []

    async def process_of(number: int) -> Process:
        @on()
        async def handle(event: Placed) -> None:
            handled.append((number, event.number))

        @on(everywhere=True)
        async def hear(event: Placed) -> None:
            heard.append((number, event.number))

        return await start(handle, hear)

    first, second = await process_of(1), await process_of(2)
    for number in range(20):
        await (first if number % 2 else second).events.publish(Placed(number=number))
    expected = 40 if is_shared else 20
    await until(lambda: len(handled) == 20 and len(heard) == expected)
    await asyncio.sleep(0.1)

    assert sorted(number for _, number in handled) == list(range(20))
    assert len(set(heard)) == len(heard) == expected


async def test_the_trace_and_user_of_the_publisher_are_on_the_lines_of_the_handler(
    start: Start, log_lines: LogLines
) -> None:
    done: list[int] = []

    @on()
    async def speak(event: Placed) -> None:
        logger.info("handled {}", event.number)
        done.append(event.number)

    process = await start(speak)
    with bind_context(trace_id="ab" * 16, span_id="cd" * 8, user_id="7", tenant="t1"):
        await process.events.publish(Placed(number=1))
    await until(lambda: done)

    (line,) = [line for line in log_lines if line["message"] == "handled 1"]
    assert (line["trace_id"], line["user_id"], line["tenant"]) == ("ab" * 16, "7", "t1")


async def test_followers_read_on_where_they_were(start: Start) -> None:
    """Gaps 0, duplicates 0, across the border between what was and what comes."""
    process = await start()
    for number in range(5):
        await process.events.publish(Placed(number=number))
    await process.events.publish(Cancelled(number=99))
    every = await wait_for_history(process, "0", 6)
    async with process.bus.follow("order.placed", after=every[1]) as follower:
        for number in range(5, 8):
            await process.events.publish(Placed(number=number))
        seen = [await asyncio.wait_for(anext(follower), PATIENCE) for _ in range(6)]

    assert follower.is_complete
    assert [item.envelope.read(Placed).number for item in seen] == [2, 3, 4, 5, 6, 7]
    assert not any(item.after_gap for item in seen)


async def wait_for_history(process: Process, after: str, count: int) -> list[str]:
    async with asyncio.timeout(PATIENCE):
        while True:
            items = (await process.bus.since(after)).items
            if len(items) >= count:
                return [item.stream_id for item in items]
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "after", ["9999999999999999-7", "99999999999999999", "nonsense", "-", "1-2-3"]
)
async def test_an_id_of_another_stream_is_no_place_to_read_on(start: Start, after: str) -> None:
    process = await start()
    await process.events.publish(Placed(number=1))
    await wait_for_history(process, "0", 1)

    async with process.bus.follow(after=after) as follower:
        assert not follower.is_complete


async def put_nonsense(process: Process) -> None:
    known = await process.events.publish(Placed(number=0))
    await process.bus.transport.publish(
        [
            Nonsense(
                id=new_id(),
                name=known.name,
                version=known.version,
                occurred_at=known.occurred_at,
                source=known.source,
                key=text,
            )
            for text in NONSENSE
        ]
    )


async def test_poison_is_put_away_with_its_reason_and_stops_nothing(
    start: Start, is_shared: bool
) -> None:
    """Neither those that handle nor those that hear."""
    if not is_shared:
        pytest.skip("nothing travels inside one process")
    handled: list[int] = []
    heard: list[int] = []

    @on()
    async def handle(event: Placed) -> None:
        handled.append(event.number)

    @on(everywhere=True)
    async def hear(event: Placed) -> None:
        heard.append(event.number)

    process = await start(handle, hear)
    await put_nonsense(process)
    await process.events.publish(Placed(number=1))
    await until(lambda: sorted(handled) == heard == [0, 1])

    found = await until_dead(process, len(NONSENSE))
    assert all("no event" in item.reason for item in found)
    assert sorted(item.body for item in found) == sorted(NONSENSE)
    assert await process.bus.transport.revive(None, process.bus.redo) == 0
    assert len(await process.bus.transport.dead(100)) == len(NONSENSE)


async def test_poison_does_not_end_what_is_read_again(start: Start, is_shared: bool) -> None:
    """A page with less than was asked for is the last one: what can't be read must not count."""
    if not is_shared:
        pytest.skip("nothing travels inside one process")
    process = await start()
    await put_nonsense(process)
    for number in (1, 2):
        await process.events.publish(Placed(number=number))
    await wait_for_history(process, "0", 3)

    history = await process.bus.transport.since("0", 2)
    assert [item.envelope.read(Placed).number for item in history.items] == [0, 1]


async def test_what_is_running_ends_before_the_service_stops(start: Start) -> None:
    got: list[str] = []
    begun = asyncio.Event()

    @on()
    async def slow(_event: Placed) -> None:
        begun.set()
        await asyncio.sleep(0.3)
        got.append("ended")

    process = await start(slow)
    publishing = asyncio.create_task(process.events.publish(Placed(number=1)))
    await asyncio.wait_for(begun.wait(), PATIENCE)
    await process.stop()

    await publishing
    assert got == ["ended"]


async def test_before_the_start_and_after_the_end_it_says_so(start: Start) -> None:
    process = await start()
    await process.stop()

    with pytest.raises(EventBusNotStartedError):
        await process.events.publish(Placed(number=1))
    with pytest.raises(EventBusNotStartedError):
        async with process.bus.follow():
            pass


async def test_what_can_not_travel_is_refused_when_it_is_published(
    start: Start, is_shared: bool
) -> None:
    if not is_shared:
        pytest.skip("nothing travels inside one process")
    process = await start()

    class Huge(Placed):
        name = "order.huge"

        text: str

    with pytest.raises(InvalidEventError, match="may travel"):
        await process.events.publish(Huge(number=1, text="x" * 300_000))


async def test_ids_are_the_same_wherever_an_event_arrives(start: Start) -> None:
    got: list[UUID] = []

    @on()
    async def handle(_event: Placed, envelope: Envelope) -> None:
        got.append(envelope.id)

    process = await start(handle)
    published = await process.events.publish(Placed(number=1))
    await until(lambda: got)

    assert got == [published.id]
    assert (await check(process.container)).status is HealthStatus.UP


async def test_a_position_is_where_to_go_on(start: Start) -> None:
    """Also past events that were not for the follower."""
    process = await start()
    async with process.bus.follow("order.placed") as follower, process.bus.follow() as every:
        await process.events.publish(Placed(number=1))
        await process.events.publish(Cancelled(number=2))
        async with asyncio.timeout(PATIENCE):
            await anext(follower)
            last = [(await anext(every)).stream_id for _ in range(2)][-1]
        position = follower.seen(process.bus.position)
    assert position == last
    await process.events.publish(Placed(number=3))
    async with process.bus.follow(after=position) as again, asyncio.timeout(PATIENCE):
        assert again.is_complete
        assert (await anext(again)).envelope.read(Placed).number == 3
