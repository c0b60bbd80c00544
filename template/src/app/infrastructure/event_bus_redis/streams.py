"""The streams, and what their entries hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.exceptions import ResponseError

from app.core.events import Envelope, InvalidEventError
from app.infrastructure.event_bus import DeadEvent, Received, order_of
from app.infrastructure.event_bus.settings import EventBusSettings
from app.infrastructure.redis import KeySpace

EVENT = "event"
"""Field of an entry: the CloudEvent as JSON."""
Entry = tuple[str, Mapping[str, str] | None]
"""Id and fields; none, where the entry was trimmed."""


@dataclass(frozen=True, slots=True)
class Streams:
    """Names of keys, and limits. All keys are on one node of a cluster."""

    events: str
    dead: str
    group: str
    window: int
    dead_window: int

    @classmethod
    def of(cls, settings: EventBusSettings, keys: KeySpace) -> Streams:
        """Return those of the settings."""
        namespace = settings.event_bus_namespace
        space = KeySpace(f"events-{namespace}") if namespace else keys
        group = settings.event_bus_group or keys.prefix
        return cls(
            events=space.tagged("events", "stream"),
            dead=space.tagged("events", "dead", group),
            group=group,
            window=settings.event_bus_window,
            dead_window=settings.event_bus_dead_window,
        )


@dataclass(frozen=True, slots=True)
class Link:
    """The server, and the streams on it."""

    redis: Any
    """For commands that answer at once. redis-py's types tell of every protocol together."""
    blocking: Any
    """For reads that wait."""
    streams: Streams
    block: float
    """Seconds one read may wait."""

    async def make_group(self, begin: str) -> None:
        """Make stream and group, unless they are there.

        Args:
            begin: the id the group begins after: "$" for what is published from now on.
        """
        streams = self.streams
        try:
            await self.redis.xgroup_create(streams.events, streams.group, id=begin, mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def last_id(self) -> str:
        """Return the id of the newest entry there ever was."""
        info = await self.redis.xinfo_stream(self.streams.events)
        return str(info["last-generated-id"])

    async def is_kept(self, stream_id: str) -> bool:
        """Tell whether everything that came after an id is still there.

        So it is when its own entry is, or nothing came after it, or nothing was ever trimmed. An id
        that was trimmed itself counts as no: what came right after it may be gone too.
        """
        events = self.streams.events
        if await self.redis.xrange(events, stream_id, stream_id, count=1):
            return True
        info = await self.redis.xinfo_stream(events)
        newest = order_of(str(info["last-generated-id"]))
        if order_of(stream_id) >= newest:
            return order_of(stream_id) == newest  # beyond: of a server that has lost its data
        return "entries-added" in info and info["entries-added"] == info["length"]


def received(entry: Entry, *, after_gap: bool = False) -> Received | None:
    """Return the event of an entry, None if it holds none that can be read."""
    stream_id, fields = entry
    try:
        envelope = Envelope.from_json((fields or {}).get(EVENT, "").encode("utf-8", "replace"))
    except InvalidEventError:
        return None
    return Received(stream_id, envelope, after_gap)


def dead_fields(
    body: str, reason: str, handler: str = "", attempts: int = 0
) -> dict[str, str | int]:
    """Return the fields of an entry of the dead stream."""
    return {EVENT: body, "reason": reason, "handler": handler, "attempts": attempts}


def dead_event(entry: Entry) -> DeadEvent:
    """Return what an entry of the dead stream says."""
    stream_id, found = entry
    fields = found or {}
    attempts = fields.get("attempts", "")
    return DeadEvent(
        id=stream_id,
        body=fields.get(EVENT, ""),
        reason=fields.get("reason", ""),
        handler=fields.get("handler", ""),
        attempts=int(attempts) if attempts.isdigit() else 0,
        died_at=datetime.fromtimestamp(int(stream_id.split("-")[0]) / 1000, UTC),
    )


def entries(answer: Any) -> Sequence[Entry]:
    """Return the entries of one stream that XREAD or XREADGROUP answered, of either protocol."""
    if not answer:
        return []
    if isinstance(answer, Mapping):  # RESP3
        found = next(iter(answer.values()))
        return list(found[0]) if found and isinstance(found[0], list) else list(found)
    return list(answer[0][1])
