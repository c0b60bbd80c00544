"""Many clients, several processes, clients that do not read, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.infrastructure.live.service import PATIENCE, Api, Stream, serving

pytestmark = pytest.mark.slow
CLIENTS = 60
LAST_CHUNK = b"0\r\n\r\n"
EVENTS = 40


LARGE = 200_000
"""Bytes of an event: 50 of them are more than the system holds for a connection (tcp_wmem)."""


async def follow(
    api: Api, stack: AsyncExitStack, clients: int, channels: str = "ticks"
) -> list[Stream]:
    """Open streams that are ready."""
    streams = [await stack.enter_async_context(api.stream(channels)) for _ in range(clients)]
    for stream in streams:
        await stream.until("ready")
    return streams


async def test_every_client_of_every_process_gets_every_event_once(
    together: Mapping[str, str], tmp_path: Path
) -> None:
    """Half of them at each of two processes; both publish."""
    env = {**together, "LIVE_CLIENTS_PER_ADDRESS": "1000"}
    async with (
        serving(tmp_path, env) as one,
        serving(tmp_path, env) as two,
        AsyncExitStack() as stack,
    ):
        streams = await follow(one, stack, CLIENTS // 2) + await follow(two, stack, CLIENTS // 2)
        await asyncio.gather(
            one.publish(first=1, count=EVENTS), two.publish(first=EVENTS + 1, count=EVENTS)
        )
        got = await asyncio.gather(*(stream.numbers(2 * EVENTS) for stream in streams))
        assert (await one.counts())["clients"] == CLIENTS // 2
    orders = {tuple(numbers) for numbers in got}
    assert len(orders) == 1  # and all in the same order
    assert sorted(orders.pop()) == list(range(1, 2 * EVENTS + 1))


async def test_a_client_that_changes_the_process_misses_nothing(
    together: Mapping[str, str], tmp_path: Path
) -> None:
    """The process it was at is stopped while events are published by the other."""
    async with serving(tmp_path, together) as two:
        async with serving(tmp_path, together) as one, one.stream() as stream:
            await stream.until("ready")
            publishing = asyncio.create_task(two.publish(first=1, count=200))
            numbers = await stream.numbers(20)
            ending = asyncio.create_task(one.end())
            while (block := await stream.next()) is not None:
                if block.event == "message" and block.data:
                    numbers.append(block.data["data"]["number"])
            assert await ending == 0
        async with two.stream(headers={"Last-Event-ID": stream.last_id or ""}) as again:
            if len(numbers) < 200:
                numbers += await again.numbers(200 - len(numbers))
            await publishing
            await two.publish(first=201)
            numbers += await again.numbers(1)
    assert numbers == list(range(1, 202))


def connected(api: Api, header: str = "") -> socket.socket:
    """Return a connection that has asked for events and will not read them."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", api.port))
    asked = f"GET /events?channels=ticks HTTP/1.1\r\nHost: test\r\n{header}\r\n"
    client.sendall(asked.encode())
    return client


async def test_a_client_that_does_not_read_is_cut_off_and_nobody_else(tmp_path: Path) -> None:
    """What waits for it is bounded; the others get everything meanwhile."""
    env = {"EVENT_BUS_TRANSPORT": "local", "LIVE_BUFFER": "10", "REDIS_EMBEDDED_DIR": str(tmp_path)}
    async with serving(tmp_path, env) as api, api.stream() as good:
        await good.until("ready")
        stuck = connected(api)
        await api.until(clients=2)
        numbers: list[int] = []
        for first in range(1, 61, 5):
            await api.publish(first=first, count=5, padding=LARGE)
            numbers += await good.numbers(5)
        assert numbers == list(range(1, 61))
        await api.until(clients=1, too_slow=1)
        assert await asyncio.to_thread(was_cut, stuck)
        await api.publish(first=61)
        assert await good.numbers(1) == [61]
    assert "cut off: too slow" in api.log.read_text()


async def test_a_client_that_takes_nothing_is_cut_off_in_time(tmp_path: Path) -> None:
    """Even where its buffer has room: a connection that is dead holds no memory for long."""
    env = {
        "EVENT_BUS_TRANSPORT": "local",
        "LIVE_BUFFER": "100000",
        "LIVE_SEND_TIMEOUT": "1",
        "REDIS_EMBEDDED_DIR": str(tmp_path),
    }
    async with serving(tmp_path, env) as api:
        stuck = connected(api)
        await api.until(clients=1)
        await api.publish(count=60, padding=LARGE)
        await api.until(clients=0, stuck=1)
        assert await asyncio.to_thread(was_cut, stuck)


def was_cut(client: socket.socket) -> bool:
    """Read what there is; tell whether the server has ended it in the middle of the answer."""
    client.settimeout(PATIENCE)
    last = b""
    with client, contextlib.suppress(ConnectionResetError):
        while read := client.recv(65536):
            last = (last + read)[-len(LAST_CHUNK) :]
    return last != LAST_CHUNK


@pytest.mark.parametrize("header", ["", "Content-Length: 0\r\n"])
async def test_the_process_ends_while_streams_are_open(tmp_path: Path, header: str) -> None:
    """One of them by a client that does not read, whatever it says of a body."""
    env = {"EVENT_BUS_TRANSPORT": "local", "SHUTDOWN_GRACE": "90"}
    env |= {"LIVE_BUFFER": "100000", "REDIS_EMBEDDED_DIR": str(tmp_path)}
    async with serving(tmp_path, env) as api, AsyncExitStack() as stack:
        streams = await follow(api, stack, 20, "ticks:small")
        stuck = connected(api, header)
        await api.until(clients=21)
        await api.publish(count=60, padding=LARGE)
        await api.publish(topic="small")
        for stream in streams:
            await stream.numbers(1)
        assert await api.end() == 0  # long before SHUTDOWN_GRACE is over
        for stream in streams:
            assert await stream.next() is None  # an end, no reset
        stuck.close()
