"""Between events and the messages that carry them."""

from __future__ import annotations

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from app.core.events import Envelope, InvalidEventError
from app.core.ids import new_id
from app.infrastructure.event_bus import DeadEvent, Received
from app.infrastructure.event_bus.dispatcher import HandlerFailure

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
"""CloudEvents, AMQP binding 3.2, structured mode."""
PERSISTENT = 2
OFFSET = "x-stream-offset"
DEATHS = "x-death"
"""Written by the broker, where it has given up a message by itself."""


def properties_of(envelope: Envelope) -> Basic.Properties:
    """Return the properties of an event's message."""
    return Basic.Properties(
        content_type=CONTENT_TYPE,
        delivery_mode=PERSISTENT,
        message_id=str(envelope.id),
        message_type=envelope.name,
        app_id=envelope.source,
        timestamp=envelope.occurred_at,
    )


def dead_properties(failure: HandlerFailure) -> Basic.Properties:
    """Return the properties of what a handler could not deal with."""
    return Basic.Properties(
        content_type=CONTENT_TYPE,
        delivery_mode=PERSISTENT,
        message_id=str(new_id()),
        headers={
            "reason": failure.error,
            "handler": failure.handler,
            "attempts": failure.attempts,
        },
    )


def text_of(message: DeliveredMessage) -> str:
    """Return the body; bytes that are no text are marked."""
    return message.body.decode("utf-8", "replace")


def dead_event(message: DeliveredMessage) -> DeadEvent:
    """Return what a message of the dead queue says."""
    said = message.header.properties
    headers = said.headers or {}
    reason = str(headers.get("reason", ""))
    if not reason and DEATHS in headers:
        reason = "processes have died of it"
    attempts = headers.get("attempts", 0)
    return DeadEvent(
        id=str(said.message_id or ""),
        body=text_of(message),
        reason=reason,
        handler=str(headers.get("handler", "")),
        attempts=attempts if isinstance(attempts, int) else 0,
    )


def offset_of(message: DeliveredMessage) -> int:
    """Return the place of a message in its stream, from 0."""
    found = (message.header.properties.headers or {}).get(OFFSET, 0)
    return found if isinstance(found, int) else 0


def received(message: DeliveredMessage, *, after_gap: bool = False) -> Received | None:
    """Return the event of a message, None if it holds none. Ids count from 1: 0 is before all."""
    try:
        envelope = Envelope.from_json(text_of(message))
    except InvalidEventError:
        return None
    return Received(str(offset_of(message) + 1), envelope, after_gap)
