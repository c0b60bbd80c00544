"""Many tasks on one socket: in order, and with nobody left waiting when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    NoScriptError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from app.infrastructure.redis import gathering
from app.infrastructure.redis.keys import KeySpace
from app.infrastructure.redis.multiplexer import Multiplexer
from app.infrastructure.redis.settings import RedisSettings


class Proxy:
    """Stands between client and server, and can keep what it hears to itself."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._writers: list[asyncio.StreamWriter] = []
        self.open = asyncio.Event()
        self.open.set()
        self.late = 0.0
        """Seconds it keeps everything it is told."""

    async def start(self) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self._path)
        self._writers += [writer, back]
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self.open.wait()
            await asyncio.sleep(self.late)
            writer.write(data)
        writer.close()

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def stop(self) -> None:
        """End."""
        self.open.set()
        self.cut()
        self._server.close()
        await self._server.wait_closed()


@pytest.fixture
async def proxy(redis_settings: RedisSettings) -> AsyncIterator[Proxy]:
    if not redis_settings.address.path:
        pytest.skip("needs the embedded server, which listens on a socket file")
    made = Proxy(redis_settings.address.path)
    yield made
    await made.stop()


TIMEOUT = 1.5
"""Long enough for what takes a moment on a busy machine, and waited for by a few tests."""


@pytest.fixture
async def through(proxy: Proxy) -> AsyncIterator[Multiplexer]:
    """A multiplexer whose connection the test can break."""
    url = SecretStr(f"redis://127.0.0.1:{await proxy.start()}")
    settings = RedisSettings(redis_url=url, redis_timeout=TIMEOUT)
    made = Multiplexer(settings, settings.address, "test")
    yield made
    await made.close()


@pytest.fixture
async def multiplexer(redis_settings: RedisSettings) -> AsyncIterator[Multiplexer]:
    made = Multiplexer(redis_settings, redis_settings.address, "test")
    yield made
    await made.close()


async def test_each_task_gets_its_own_answers(
    multiplexer: Multiplexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is held for long leaves early, and how long a turn takes is the machine's business.
    monkeypatch.setattr(gathering, "LONGEST_HOLD", 60.0)

    async def ask(number: int) -> None:
        for turn in range(200):
            text = f"{number}-{turn}"
            assert await multiplexer.execute("ECHO", text) == text

    await asyncio.gather(*(ask(number) for number in range(50)))

    assert multiplexer.statistics.commands > 10_000
    assert multiplexer.statistics.writes < multiplexer.statistics.commands / 10
    assert multiplexer.statistics.connections == 1


async def test_answers_of_every_kind(multiplexer: Multiplexer, keys: KeySpace) -> None:
    assert await multiplexer.execute("SET", keys("a"), b"\x00\xff\r\n") == "OK"
    answer = await multiplexer.execute("GET", keys("a"))
    assert answer.encode("utf-8", "surrogateescape") == b"\x00\xff\r\n"
    assert await multiplexer.execute("GET", keys("nothing")) is None
    assert await multiplexer.execute("INCRBY", keys("n"), 5) == 5
    script = "return {1, {'two', 3}, false}"
    assert await multiplexer.execute("EVAL", script, 0) == [1, ["two", 3], None]


async def test_what_can_not_be_sent_shifts_no_answer(
    multiplexer: Multiplexer, keys: KeySpace
) -> None:
    """Bytes that came as surrogates go back as they were; half a pair is no text at all."""
    await multiplexer.execute("SET", keys("a"), b"\xff\xfe")
    same = await multiplexer.execute("GET", keys("a"))
    await multiplexer.execute("SET", keys("b"), same)
    assert await multiplexer.execute("GET", keys("b")) == same

    asked = [multiplexer.execute("ECHO", text) for text in ("a", "\ud800", "b")]
    answers = await asyncio.gather(*asked, return_exceptions=True)

    assert (answers[0], answers[2]) == ("a", "b")
    assert isinstance(answers[1], UnicodeEncodeError)


async def test_errors_are_those_of_redis_py(
    multiplexer: Multiplexer, redis: Redis, keys: KeySpace
) -> None:
    with pytest.raises(NoScriptError):
        await multiplexer.execute("EVALSHA", "0" * 40, 0)
    with pytest.raises(ResponseError, match="unknown command"):
        await multiplexer.execute("NONSENSE")
    await redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(OutOfMemoryError):
            await multiplexer.execute("SET", keys("a"), "1")
    finally:
        await redis.config_set("maxmemory", "0")
    answers = await multiplexer.execute_all([("ECHO", "a"), ("NONSENSE",), ("ECHO", "b")])
    assert (answers[0], answers[2]) == ("a", "b")
    assert isinstance(answers[1], ResponseError)


async def test_a_transaction_is_whole(multiplexer: Multiplexer, keys: KeySpace) -> None:
    lines = [("INCR", keys("n")), ("INCR", keys("n"))]

    assert await multiplexer.transaction(lines) == [1, 2]

    with pytest.raises(RedisError):
        await multiplexer.transaction([("INCR", keys("n")), ("NONSENSE",)])
    assert await multiplexer.execute("GET", keys("n")) == "2"
    with pytest.raises(UnicodeEncodeError):
        await multiplexer.transaction([("INCR", keys("n")), ("ECHO", "\ud800")])
    assert await multiplexer.execute("GET", keys("n")) == "2"


@pytest.mark.parametrize("command", ["BLPOP", "subscribe", "MULTI", "XREAD"])
async def test_what_would_hold_up_the_others_is_refused(
    multiplexer: Multiplexer, command: str
) -> None:
    with pytest.raises(ValueError, match="connection of its own"):
        await multiplexer.execute(command, "x")


async def test_a_cancelled_task_shifts_no_answer(multiplexer: Multiplexer) -> None:
    await multiplexer.execute("PING")
    asked = [asyncio.create_task(multiplexer.execute("ECHO", str(n))) for n in range(100)]
    await asyncio.sleep(0)
    for task in asked[::3]:
        task.cancel()

    answers = await asyncio.gather(*asked, return_exceptions=True)

    for number, answer in enumerate(answers):
        if number % 3:
            assert answer == str(number)
        else:
            assert isinstance(answer, asyncio.CancelledError)


async def test_a_lost_connection_fails_what_is_on_its_way_and_no_more(
    through: Multiplexer, proxy: Proxy
) -> None:
    assert await through.execute("ECHO", "before") == "before"
    proxy.open.clear()
    waiting = [asyncio.create_task(through.execute("ECHO", "lost")) for _ in range(5)]
    await asyncio.sleep(0.05)

    proxy.cut()
    proxy.open.set()

    for answer in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(answer, RedisConnectionError)
    assert await through.execute("ECHO", "after") == "after"
    assert through.statistics.connections == 2


async def test_a_server_that_says_nothing_is_left(through: Multiplexer, proxy: Proxy) -> None:
    await through.execute("PING")
    proxy.open.clear()

    with pytest.raises(RedisTimeoutError):
        await through.execute("ECHO", "unheard")
    with pytest.raises(RedisConnectionError):
        await through.execute("ECHO", "nobody answers the log-in either")

    proxy.open.set()
    assert await through.execute("ECHO", "again") == "again"


async def test_however_many_wait_for_a_connection_it_is_made(
    through: Multiplexer, proxy: Proxy
) -> None:
    """In a row, each would have the moment between two of them: less than connecting takes."""
    proxy.open.clear()
    proxy.late = 0.05
    asked: list[asyncio.Task[str]] = []
    left = 150
    while left:
        asked.append(asyncio.create_task(through.execute("ECHO", str(len(asked)))))
        await asyncio.sleep(0.01)
        if asked[0].done():
            proxy.open.set()
            left -= 1

    answers = await asyncio.gather(*asked, return_exceptions=True)

    assert isinstance(answers[0], RedisConnectionError)
    assert answers[-50:] == [str(number) for number in range(len(asked) - 50, len(asked))]


async def test_connecting_ends_with_the_multiplexer(through: Multiplexer, proxy: Proxy) -> None:
    proxy.open.clear()
    asked = asyncio.create_task(through.execute("PING"))
    await asyncio.sleep(0.05)

    await through.close()

    with pytest.raises(RedisConnectionError):
        await asked


async def test_a_wrong_password_is_said(redis_settings: RedisSettings) -> None:
    address = replace(redis_settings.address, password="wrong")
    refused = Multiplexer(redis_settings, address, "test")

    with pytest.raises(RedisError):
        await refused.execute("PING")
    await refused.close()
