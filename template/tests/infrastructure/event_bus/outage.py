"""What every transport promises when its server dies in the middle of events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from app.infrastructure.event_bus import EventBusUnavailableError, on
from tests.infrastructure.event_bus.conftest import Placed, Start, until

SOME = 30


async def outlive(start: Start, restart: Callable[[], None]) -> None:
    """Publish before, while and after the server is killed and started again.

    Whatever a publisher was told is safe is handled by one of two processes, and heard by who
    follows in the other, in order; a try that fails says so soon.

    Args:
        start: starts processes.
        restart: kills the server and starts it with the data it had; blocks meanwhile.
    """
    handled: set[int] = set()
    heard: list[int] = []
    published: list[int] = []
    failed: list[int] = []

    @on()
    async def handle(event: Placed) -> None:
        await asyncio.sleep(0.01)
        handled.add(event.number)

    publisher, other = await start(handle), await start(handle)

    async def follow() -> None:
        async with other.bus.follow() as follower:
            async for received in follower:
                assert not received.after_gap
                heard.append(received.envelope.read(Placed).number)

    async def publish() -> None:
        number = 0
        while True:
            number += 1
            try:
                async with asyncio.timeout(30):
                    await publisher.events.publish(Placed(number=number))
            except EventBusUnavailableError:
                failed.append(number)
            else:
                published.append(number)
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(follow()), asyncio.create_task(publish())]
    try:
        await until(lambda: len(published) >= SOME)
        await asyncio.to_thread(restart)
        before = len(published)
        await until(lambda: len(published) >= before + SOME or tasks[1].done())
    finally:
        tasks[1].cancel()
        with suppress(asyncio.CancelledError):
            await tasks[1]
    await until(lambda: handled >= set(published) and set(heard) >= set(published))
    tasks[0].cancel()

    assert failed, "the server was never missed: the test has tested nothing"
    assert list(dict.fromkeys(heard)) == sorted(set(heard))
