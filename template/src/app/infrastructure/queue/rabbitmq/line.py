"""A connection to the broker with one channel, made when it is needed and again when it is lost.

Not aio-pika's robust connection: that one may come back without its consumers, or not at all when
the broker cancels one, and nobody is told (mosquito/aio-pika 231, 334, 632).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar, cast

from aiormq import Channel, Connection

from app.core.errors import AppError, ConfigurationError
from app.core.tasks import end
from app.infrastructure.queue.errors import QueueUnavailableError
from app.infrastructure.queue.rabbitmq.confirms import UnroutableError
from app.infrastructure.queue.rabbitmq.frames import TappedTransport

GOODBYE = 2.0
"""Seconds closing may take."""
AnswerT = TypeVar("AnswerT")
# What happens to a connection is told here, once; the library tells each try, as an error.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)


def unavailable(error: BaseException) -> QueueUnavailableError:
    """Return the error of the port for one of the library's."""
    said = str(error) or type(error).__name__
    return QueueUnavailableError(
        f"RabbitMQ does not do its work: {said}", headers={"Retry-After": "5"}
    )


class Line:
    """See the module. Belongs to the event loop that first uses it."""

    def __init__(self, urls: Sequence[str], name: str, timeout: float) -> None:
        """Prepare; nothing is connected yet.

        Args:
            urls: the nodes, tried in turn.
            name: shown in RabbitMQ's list of connections.
            timeout: seconds connecting, or one call, may take.
        """
        self._urls = list(urls)
        self._name = name
        self.timeout = timeout
        self._connection: Connection | None = None
        self._transport: TappedTransport | None = None
        self._channel: Channel | None = None
        self._connecting = asyncio.Lock()
        self._opening: asyncio.Task[Channel] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether there is a channel that works, as far as one can see from here."""
        return self._channel is not None and not self._channel.is_closed

    async def channel(self, prepare: Callable[[Channel], Awaitable[None]] | None = None) -> Channel:
        """Return the channel. All who need a new one wait for the same attempt to make it.

        In a row, each would wait for those before it to fail as well.

        Args:
            prepare: what is done with a new one before anybody gets it.

        Raises:
            QueueUnavailableError: no node can be reached in time.
            ConfigurationError: as `prepare`.
        """
        if self._channel is not None and not self._channel.is_closed:
            return self._channel
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open(prepare), name="channel to RabbitMQ")
            self._opening.add_done_callback(_heard)
        opening = self._opening
        await asyncio.wait((opening,))
        if opening.cancelled():
            raise unavailable(ConnectionError("disconnected"))
        return opening.result()

    @property
    def transport(self) -> TappedTransport:
        """What frames are written to, and tapped from; of the connection there is now."""
        if self._transport is None:
            raise unavailable(ConnectionError("not connected"))
        return self._transport

    async def connect(self) -> Connection:
        """Return the connection, made anew if it is lost.

        Raises:
            QueueUnavailableError: no node can be reached in time.
        """
        async with self._connecting:
            if self._connection is None or self._connection.is_closed:
                self.drop()
                return await self.call(self._connect())
            return self._connection

    async def another_channel(self) -> Channel:
        """Return one more channel; whoever gets it looks after it.

        Raises:
            QueueUnavailableError: no node can be reached in time.
        """
        connection = await self.connect()
        return cast("Channel", await self.call(connection.channel(publisher_confirms=False)))

    def leave(self, channel: Channel) -> None:
        """Close a channel; what that takes happens meanwhile."""
        self._meanwhile(channel.close())

    async def _open(self, prepare: Callable[[Channel], Awaitable[None]] | None) -> Channel:
        self.drop()
        self._channel = await self.call(self._new_channel(prepare))
        return self._channel

    async def _new_channel(self, prepare: Callable[[Channel], Awaitable[None]] | None) -> Channel:
        channel = cast("Channel", await (await self._connect()).channel())
        if prepare:
            await prepare(channel)
        return channel

    async def _connect(self) -> Connection:
        url = self._urls[0]
        self._urls.append(self._urls.pop(0))  # the next try is another node's
        transport = TappedTransport()
        connection = Connection(url, transport_factory=transport)
        self._connection, self._transport = connection, transport
        await connection.connect({"connection_name": self._name})
        return connection

    async def call(self, work: Awaitable[AnswerT], timeout: float | None = None) -> AnswerT:  # noqa: ASYNC109 - the call's own bound
        """Do something with the broker, in bounded time; the connection is dropped if it fails.

        Raises:
            QueueUnavailableError: it failed, or took too long.
            UnroutableError: a message found no queue.
            ConfigurationError: something is declared otherwise.
        """
        used = self._connection
        try:
            async with asyncio.timeout(timeout or self.timeout):
                return await work
        except UnroutableError:
            raise  # of one message: the connection is well
        except (AppError, ConfigurationError):
            self._drop_if(used)
            raise
        except Exception as error:  # the library raises whatever it was closed with, Exception too
            self._drop_if(used)
            raise unavailable(error) from error

    def _drop_if(self, used: Connection | None) -> None:
        """Give up the connection, unless what failed was one before it."""
        if used is None or self._connection is used:
            self.drop()

    def drop(self) -> None:
        """Give up the connection; what it takes to close it happens meanwhile."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            self._meanwhile(connection.close())

    def _meanwhile(self, closing: Awaitable[object]) -> None:
        task = asyncio.create_task(_bounded(closing), name="goodbye to RabbitMQ")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Disconnect; within a bounded time, whatever the broker does."""
        if self._opening is not None:
            await end(self._opening)
        self.drop()
        if self._leaving:
            await asyncio.wait(tuple(self._leaving), timeout=GOODBYE + 1.0)


def _heard(opening: asyncio.Task[Channel]) -> None:
    """Take note of an error that nobody waited for: no complaint about it."""
    if not opening.cancelled():
        opening.exception()


async def _bounded(closing: Awaitable[object]) -> None:
    with suppress(Exception):  # it may be half open, or gone
        async with asyncio.timeout(GOODBYE):
            await closing
