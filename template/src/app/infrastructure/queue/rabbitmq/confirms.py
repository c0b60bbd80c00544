"""Wait for the broker to confirm what was published on a channel."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from app.infrastructure.queue.rabbitmq.frames import Content


class UnroutableError(Exception):
    """A message found no queue."""


class RefusedError(Exception):
    """The broker did not take a message: a queue is full, or has no leader."""


class Confirms:
    """The messages of one channel that are not confirmed. See `Tapped`.

    The broker counts what is published on a channel from 1, and so does this.
    """

    def __init__(self) -> None:
        """Begin with a new channel."""
        self._last = 0
        self._open: dict[int, tuple[str, asyncio.Future[None]]] = {}
        self._left: dict[asyncio.Future[None], int] = {}
        self._returned: set[str] = set()

    def expect(self, ids: Sequence[str]) -> asyncio.Future[None]:
        """Return what is done when the messages that are written next are all confirmed."""
        batch: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for message_id in ids:
            self._last += 1
            self._open[self._last] = (message_id, batch)
        self._left[batch] = len(ids)
        return batch

    def forget(self, batch: asyncio.Future[None]) -> None:
        """Nobody waits for a batch any more. Its confirms may still come."""
        self._left.pop(batch, None)

    def confirmed(self, tag: int, *, multiple: bool, taken: bool) -> None:
        """See `Tapped`."""
        tags = [tag]
        if multiple:
            tags = []
            for number in self._open:
                if number > tag:
                    break
                tags.append(number)
        for number in tags:
            if (found := self._open.pop(number, None)) is not None:
                self._one(*found, taken=taken)

    def _one(self, message_id: str, batch: asyncio.Future[None], *, taken: bool) -> None:
        unroutable = message_id in self._returned
        self._returned.discard(message_id)
        if batch.done() or batch not in self._left:
            return
        if unroutable:
            batch.set_exception(UnroutableError(message_id))
        elif not taken:
            batch.set_exception(RefusedError("RabbitMQ refuses the message"))
        else:
            self._left[batch] -= 1
            if not self._left[batch]:
                batch.set_result(None)

    def returned(self, content: Content) -> None:
        """See `Tapped`: its confirm follows."""
        self._returned.add(str(content.message_id))

    def delivered(self, tag: int, content: Content) -> None:
        """See `Tapped`: nothing is subscribed to on this channel."""

    def lost(self, _closing: object) -> None:
        """The channel is closed: what was not confirmed may be lost."""
        opened, self._open = self._open, {}
        for _, batch in opened.values():
            if not batch.done() and batch in self._left:
                batch.set_exception(ConnectionError("the channel was closed"))
