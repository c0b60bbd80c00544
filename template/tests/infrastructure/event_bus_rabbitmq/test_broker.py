"""Events over RabbitMQ: what lies in the broker, and what it does by itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from aiormq import Channel, Connection
from pamqp.commands import Basic

from app.core.errors import ConfigurationError
from app.infrastructure.event_bus import on
from app.infrastructure.queue import QueueUnavailableError
from app.infrastructure.queue.rabbitmq import testing
from tests.infrastructure.event_bus.conftest import (
    PATIENCE,
    Placed,
    Process,
    Start,
    prefix,
    shared,
    start,
    until,
    until_dead,
)

__all__ = ["prefix", "shared", "start"]
pytestmark = pytest.mark.skipif(
    not os.environ.get("TEST_RABBITMQ_URL"), reason="TEST_RABBITMQ_URL names no RabbitMQ"
)


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> str:
    """This one alone."""
    monkeypatch.setenv("EVENT_BUS_TRANSPORT", "rabbitmq")
    return "rabbitmq"


@pytest.fixture
async def channel(anyio_backend: str) -> AsyncIterator[Channel]:
    """A channel of the test's own."""
    del anyio_backend
    connection = Connection(testing.environment()["RABBITMQ_URL"])
    await connection.connect()
    opened = await connection.channel()
    assert isinstance(opened, Channel)
    yield opened
    await connection.close()


async def test_a_message_that_is_no_text_is_put_away(
    start: Start, channel: Channel, prefix: str
) -> None:
    process = await start()
    await channel.basic_publish(
        b"\xff\xfe", exchange=f"{prefix}.events", routing_key="order.placed"
    )

    (dead,) = await until_dead(process, 1)
    assert dead.body == "\ufffd\ufffd"


async def test_what_the_broker_gives_up_by_itself_is_dead_and_can_be_handled_again(
    start: Start, channel: Channel, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of processes that have died of it: it was delivered too often, and never acknowledged."""
    monkeypatch.setenv("EVENT_BUS_CONSUME", "false")
    monkeypatch.setenv("EVENT_BUS_DELIVERIES", "2")
    got: list[int] = []

    @on()
    async def handle(event: Placed) -> None:
        got.append(event.number)

    process = await start(handle)
    await process.events.publish(Placed(number=7))
    for _ in range(2):
        message = await channel.basic_get(f"{prefix}.events.{prefix}")
        assert isinstance(message.delivery, Basic.GetOk)
        await channel.basic_nack(message.delivery_tag or 0, requeue=True)

    (dead,) = await until_dead(process, 1)
    assert dead.reason == "processes have died of it"
    assert await process.bus.transport.revive(None, process.bus.redo) == 1
    assert got == [7]


async def test_a_consumer_comes_back_when_its_connection_is_lost(
    start: Start, channel: Channel, prefix: str
) -> None:
    """Closed by the broker, as an operator may: nothing is lost, nothing heard twice."""
    handled: list[int] = []
    heard: list[int] = []

    @on()
    async def handle(event: Placed) -> None:
        handled.append(event.number)

    @on(everywhere=True)
    async def hear(event: Placed) -> None:
        heard.append(event.number)

    process = await start(handle, hear)
    await process.events.publish(Placed(number=1))
    await until(lambda: handled == heard == [1])
    transport = process.bus.transport
    for line in (transport._consuming, transport._tail._line, transport._publishing):  # type: ignore[attr-defined]
        line.transport._writer.transport.abort()
    await asyncio.sleep(0.1)
    async with asyncio.timeout(20):
        while True:
            try:
                await process.events.publish(Placed(number=2))
                break
            except Exception:  # noqa: BLE001 - the first try may notice that the line is dead
                await asyncio.sleep(0.1)
    await until(lambda: 2 in handled and 2 in heard)
    del channel, prefix

    assert heard == [1, 2]


async def test_every_process_comes_back_when_the_broker_ends_its_subscription(
    start: Start, channel: Channel, prefix: str
) -> None:
    """As when a queue is deleted: the others of the group, who are back already, do not hide it."""
    heard: list[int] = []

    async def process_of(number: int) -> Process:
        @on()
        async def handle(_event: Placed) -> None: ...

        @on(everywhere=True)
        async def hear(_event: Placed) -> None:
            heard.append(number)

        return await start(handle, hear)

    first, _ = await process_of(1), await process_of(2)
    queue = f"{prefix}.events.{prefix}"

    async def consumers() -> object:
        try:
            return (await first.bus.transport.health()).details["consumers"]
        except QueueUnavailableError:  # it is not there again yet
            return 0

    for name in (queue, f"{prefix}.events.stream"):
        await channel.queue_delete(name)
    async with asyncio.timeout(PATIENCE):
        while await consumers() != 2:  # noqa: ASYNC110 - of a broker
            await asyncio.sleep(0.1)
        while set(heard) != {1, 2}:
            await first.events.publish(Placed(number=1))
            await asyncio.sleep(0.1)


async def test_queues_that_were_declared_otherwise_are_told(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start()
    monkeypatch.setenv("EVENT_BUS_DELIVERIES", "9")

    with pytest.raises(ConfigurationError, match="declared otherwise"):
        await start()
