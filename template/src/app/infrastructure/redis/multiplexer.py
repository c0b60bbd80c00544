"""Commands of many tasks on one socket.

What the tasks of a process send at about the same time leaves in one write, and the answers come
back in order: no task waits for another one's round trip. redis-py gives each command a
connection of its own until it is answered.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import hiredis
from redis import exceptions

from app.core.tasks import end
from app.infrastructure.redis.address import Address, Mode
from app.infrastructure.redis.gathering import Gatherer
from app.infrastructure.redis.settings import RedisSettings

Word = str | bytes | int | float
MOST_UNANSWERED = 50_000
"""Commands on their way; who has more to send waits."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between attempts to connect."""
BLOCKING = ("BLMOVE", "BLMPOP", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZMPOP", "BZPOPMAX", "BZPOPMIN")
STATEFUL = ("DISCARD", "EXEC", "MULTI", "RESET", "SELECT", "UNWATCH", "WATCH", "WAIT", "WAITAOF")
STREAMING = ("MONITOR", "PSUBSCRIBE", "SSUBSCRIBE", "SUBSCRIBE", "SYNC", "XREAD", "XREADGROUP")
ELSEWHERE = frozenset((*BLOCKING, *STATEFUL, *STREAMING))
"""Commands that would hold up or confuse all the others."""
ERRORS: dict[str, type[exceptions.RedisError]] = {
    "NOSCRIPT": exceptions.NoScriptError,
    "LOADING": exceptions.BusyLoadingError,
    "READONLY": exceptions.ReadOnlyError,
    "OOM": exceptions.OutOfMemoryError,
    "NOAUTH": exceptions.AuthenticationError,
    "WRONGPASS": exceptions.AuthenticationError,
    "NOPERM": exceptions.NoPermissionError,
    "EXECABORT": exceptions.ExecAbortError,
}


pack = cast("Callable[[tuple[Word, ...]], bytes]", hiredis.pack_command)
"""Its own types know commands of one word only."""


def _packed(command: Sequence[Word]) -> bytes:
    try:
        return pack(tuple(command))
    except UnicodeEncodeError:
        # Text that came from Redis as surrogates goes back as the bytes it was.
        words = (w.encode("utf-8", "surrogateescape") if isinstance(w, str) else w for w in command)
        return pack(tuple(words))


def _error(text: str) -> exceptions.RedisError:
    """Return the exception redis-py has for what a server answers."""
    code, _, rest = text.partition(" ")
    known = ERRORS.get(code)
    return known(rest) if known else exceptions.ResponseError(text)


@dataclass(slots=True)
class Statistics:
    """What a multiplexer has done."""

    commands: int = 0
    writes: int = 0
    connections: int = 0


class _Connection(asyncio.Protocol):
    """One socket, and who waits for its answers, in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, statistics: Statistics) -> None:
        self._loop = loop
        self._statistics = statistics
        self.out = Gatherer(loop, self._write)
        self._reader = hiredis.Reader(
            encoding="utf-8",
            errors="surrogateescape",
            replyError=_error,
            protocolError=exceptions.InvalidResponse,
        )
        self.waiting: deque[asyncio.Future[Any]] = deque()
        self.lost = False
        self.heard = loop.time()
        self.transport: asyncio.Transport | None = None
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        reader, waiting = self._reader, self.waiting
        try:
            reader.feed(data)
            while (answer := reader.gets()) is not False:
                future = waiting.popleft()
                if future.done():  # its task was cancelled: the answer is nobody's
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
        except (exceptions.InvalidResponse, IndexError) as error:
            self.drop(exceptions.ConnectionError(f"not an answer of Redis: {error}"))

    def _write(self, commands: list[bytes]) -> None:
        self._statistics.commands += len(commands)
        self._statistics.writes += 1
        if self.transport and not self.lost:
            self.transport.write(b"".join(commands))

    def connection_lost(self, exc: Exception | None) -> None:
        self.drop(exceptions.ConnectionError(f"the connection was lost: {exc or 'closed'}"))

    def drop(self, error: Exception) -> None:
        """Give up the socket: everybody who waits gets the error."""
        if self.transport:
            self.transport.abort()
        self.lost = True
        self.writable.set()
        waiting, self.waiting = self.waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # read by somebody, or by nobody: no complaint about it


def _heard(connecting: asyncio.Task[_Connection]) -> None:
    """Take note of an error that nobody waited for: no complaint about it."""
    if not connecting.cancelled():
        connecting.exception()


class Multiplexer:
    """Commands on one socket, made when it is first needed and again when it is lost.

    Commands that are unanswered when the connection is lost fail: whether they were carried out is
    not known, so nothing is sent twice behind the caller's back. Those that come after wait for a
    new connection, for as long as for an answer. Belongs to the event loop that first uses it.
    """

    def __init__(
        self,
        settings: RedisSettings,
        address: Address,
        name: str,
        timeout: float | None = None,
        connect_timeout: float | None = None,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            settings: how to connect.
            address: where to.
            name: shown by `CLIENT LIST`.
            timeout: seconds until an answer or a connection is overdue; by default `REDIS_TIMEOUT`.
            connect_timeout: the same for a connection, where it may take longer than an answer.
        """
        self._settings = settings
        self._address = address
        self._name = name
        self._timeout = timeout or settings.redis_timeout
        self._connect_timeout = connect_timeout or self._timeout
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[_Connection] | None = None
        self._wanted = 0.0
        self._problem: Exception | None = None
        self._watch: asyncio.TimerHandle | None = None
        self.statistics = Statistics()

    @staticmethod
    def possible(address: Address) -> bool:
        """Tell whether a server can be used so: one whose address does not change."""
        return address.mode in {Mode.SINGLE, Mode.UNIX}

    @property
    def connected(self) -> bool:
        """Whether a command would be sent at once."""
        return self._connection is not None and not self._connection.lost

    async def execute(self, *command: Word) -> Any:
        """Run a command and return its answer; `str` where it is text.

        Raises:
            ValueError: a command that needs a connection of its own.
            RedisError: what the server answered, or that it did not.
        """
        if str(command[0]).upper() in ELSEWHERE:
            message = f"{command[0]!r} needs a connection of its own: use redis.asyncio.Redis"
            raise ValueError(message)
        return await self.wait_for(*command)

    async def wait_for(self, *command: Word) -> Any:
        """Run a command that may block, for less than the timeout; otherwise as `execute`.

        For a multiplexer nobody else uses: what is sent after it waits as well.
        """
        packed = _packed(command)
        return await self._send(await self._ready(), packed)

    async def execute_all(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Run commands in one write; return all answers, errors among them as exceptions."""
        # First of all: half a transaction would take in what the others send.
        packed = [_packed(command) for command in commands]
        connection = await self._ready()
        futures = [self._send(connection, words) for words in packed]
        return await asyncio.gather(*futures, return_exceptions=True)

    async def transaction(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Run commands in one write, all or none of them; errors are as in `execute_all`.

        Raises:
            RedisError: the transaction was refused as a whole.
        """
        answers = await self.execute_all([("MULTI",), *commands, ("EXEC",)])
        if refused := next((a for a in answers if isinstance(a, Exception)), None):
            raise refused
        results: list[Any] = answers[-1]
        return results

    async def close(self) -> None:
        """Close the connection; what is unanswered fails."""
        if self._watch:
            self._watch.cancel()
        if self._connecting:
            await end(self._connecting)
        if self._connection:
            self._connection.drop(exceptions.ConnectionError("closed"))
            self._connection = None
            await asyncio.sleep(0)

    def _send(self, connection: _Connection, packed: bytes) -> asyncio.Future[Any]:
        loop = connection._loop  # noqa: SLF001 - the two belong together
        future: asyncio.Future[Any] = loop.create_future()
        if connection.lost:
            future.set_exception(exceptions.ConnectionError("the connection was lost"))
            return future
        if not connection.waiting:
            connection.heard = loop.time()
            if self._watch is None and connection is self._connection:
                self._watch = loop.call_later(self._timeout, self._watch_over, connection)
        connection.waiting.append(future)
        connection.out.add(packed)
        return future

    async def _ready(self) -> _Connection:
        """Return a connection that takes commands."""
        connection = self._connection
        if connection is None or connection.lost:
            connection = await self._connected()
        if len(connection.waiting) > MOST_UNANSWERED or not connection.writable.is_set():
            await self._let_drain(connection)
        return connection

    async def _let_drain(self, connection: _Connection) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await connection.writable.wait()
                while len(connection.waiting) > MOST_UNANSWERED:
                    await asyncio.wait([connection.waiting[-1]])
        except TimeoutError as error:
            message = "Redis takes in no more commands"
            raise exceptions.TimeoutError(message) from error

    async def _connected(self) -> _Connection:
        """Wait for a connection.

        All who need one wait for the same attempts. One after the other, each would have what is
        left of its time after those before it: too little for any attempt, once many are waiting.
        """
        loop = asyncio.get_running_loop()
        self._wanted = loop.time() + self._connect_timeout
        if self._connecting is None or self._connecting.done():
            self._connecting = loop.create_task(self._connect(), name="connect to Redis")
            self._connecting.add_done_callback(_heard)
        connecting = self._connecting
        await asyncio.wait((connecting,), timeout=self._connect_timeout)
        if not connecting.done() or connecting.cancelled():
            problem = self._problem or "nobody answers"
            message = f"no connection to {self._address!r}: {problem}"
            raise exceptions.ConnectionError(message) from self._problem
        return connecting.result()

    async def _connect(self) -> _Connection:
        """Try until there is a connection, or nobody wants one any more."""
        loop = asyncio.get_running_loop()
        pause, self._problem = FIRST_PAUSE, None
        made: _Connection | None = None
        while made is None:
            try:
                async with asyncio.timeout(self._connect_timeout):
                    made = await self._open()
            except (OSError, exceptions.ConnectionError, TimeoutError) as error:
                self._problem = error
                if loop.time() + pause >= self._wanted:
                    message = f"no connection to {self._address!r}: {error}"
                    raise exceptions.ConnectionError(message) from error
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        self._connection = made
        self.statistics.connections += 1
        if self._watch:  # over the connection before
            self._watch.cancel()
            self._watch = None
        return made

    async def _open(self) -> _Connection:
        """Open a socket, log in, choose the database."""
        loop = asyncio.get_running_loop()
        address = self._address

        def protocol() -> _Connection:
            return _Connection(loop, self.statistics)

        if address.mode is Mode.UNIX:
            _, made = await loop.create_unix_connection(protocol, address.path)
        else:
            host, port = address.hosts[0]
            _, made = await loop.create_connection(protocol, host, port, ssl=self._tls())
        words: list[tuple[Word, ...]] = [("CLIENT", "SETNAME", self._name)]
        if address.database:
            words.insert(0, ("SELECT", address.database))
        if address.password:
            user = (address.username,) if address.username else ()
            words.insert(0, ("AUTH", *user, address.password))
        asked = [self._send(made, _packed(command)) for command in words]
        try:
            await asyncio.wait(asked)
            answers = [future.exception() for future in asked]
        except BaseException:
            made.drop(exceptions.ConnectionError("not logged in"))
            raise
        if refused := next(filter(None, answers), None):
            made.drop(exceptions.ConnectionError("not logged in"))
            raise refused
        return made

    def _tls(self) -> ssl.SSLContext | None:
        if not self._address.tls:
            return None
        authority = self._settings.redis_tls_ca
        return ssl.create_default_context(cafile=str(authority) if authority else None)

    def _watch_over(self, connection: _Connection) -> None:
        """Drop a connection that owes answers and says nothing: one timer for all commands.

        There is none while nothing is owed.
        """
        self._watch = None
        if connection.lost or not connection.waiting:
            return
        loop = asyncio.get_running_loop()
        left = connection.heard + self._timeout - loop.time()
        if left <= 0:
            message = f"Redis did not answer within {self._timeout:g} s"
            connection.drop(exceptions.TimeoutError(message))
            return
        self._watch = loop.call_later(left, self._watch_over, connection)
