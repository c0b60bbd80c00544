"""One client: what it follows, and what waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from app.core.errors import UnauthorizedError
from app.infrastructure.event_bus import EventBus, Follower, Received
from app.infrastructure.live.channels import Selection
from app.infrastructure.live.messages import Messages
from app.infrastructure.live.ports import Viewer


class CredentialsExpiredError(UnauthorizedError):
    """The credentials the stream was opened with have ended."""


class Item(NamedTuple):
    """Something for the client."""

    position: str | None
    """What it has seen when it has got this; None: no more than before."""
    text: str | None = None
    """The event as JSON; None: there is none, the stream is alive."""
    after_gap: bool = False
    """Events before it may be missing: the client begins anew."""


class LiveClient:
    """An open stream. Read it with `next`, in one task."""

    def __init__(
        self,
        viewer: Viewer | None,
        selections: Iterable[Selection],
        messages: Messages,
        cut: Callable[[], None],
    ) -> None:
        """Follow nothing yet but know what.

        Args:
            viewer: who it is; None: nobody known.
            selections: what it follows.
            messages: writes events.
            cut: ends the connection at once, whatever waits to be sent.
        """
        self.viewer = viewer
        self.selections = {str(selection): selection for selection in selections}
        self._messages = messages
        self.cut = cut
        self.was_cut = ""
        """Why it was cut off; empty: it was not."""
        self.busy_since: float | None = None
        """Time of the loop at which it was given something to send, until that is sent."""
        self._bus: EventBus | None = None
        self._follower: Follower | None = None

    def begin(self, bus: EventBus, follower: Follower) -> None:
        """Read from now on."""
        self._bus, self._follower = bus, follower

    @property
    def follower(self) -> Follower:
        """What holds the events.

        Raises:
            RuntimeError: before `begin`.
        """
        if self._follower is None:
            message = "the client does not follow yet"
            raise RuntimeError(message)
        return self._follower

    def wants(self, received: Received) -> bool:
        """Tell whether an event is for this client."""
        return any(
            selection.takes(received.envelope, self.viewer)
            for selection in self.selections.values()
        )

    @property
    def position(self) -> str | None:
        """The id up to which nothing is left to read; None: not known."""
        return self.follower.seen(self._bus.position) if self._bus else None

    async def next(self, heartbeat: float) -> Item:
        """Return what is next, an empty item after so many seconds in which nothing came.

        Raises:
            SlowFollowerError: events came faster than they were read.
            CredentialsExpiredError: they have ended.
            StopAsyncIteration: the process ends, nothing more comes.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + heartbeat
        while True:
            left = self._seconds_left()
            if left <= 0:  # also while there is something to read, which may never end
                raise CredentialsExpiredError
            try:
                async with asyncio.timeout(max(min(end - loop.time(), left), 0)):
                    received = await anext(self.follower)
            except TimeoutError:
                if self._seconds_left() <= 0:
                    continue
                missed, self.follower.missed = self.follower.missed, False
                return Item(self.position, after_gap=missed)
            if item := self._item(received):
                return item

    def _item(self, received: Received) -> Item | None:
        takers = [
            selection
            for selection in self.selections.values()
            if selection.takes(received.envelope, self.viewer)
        ]
        text = self._messages.write(received, takers) if takers else None
        missed, self.follower.missed = self.follower.missed, False
        gap = received.after_gap or missed
        # It may have stopped to follow since the event came.
        return Item(received.stream_id, text, gap) if text is not None or gap else None

    def _seconds_left(self) -> float:
        ends = self.viewer.expires_at if self.viewer else None
        return (ends - datetime.now(UTC)).total_seconds() if ends else float("inf")
