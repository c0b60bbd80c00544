"""Events as clients get them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from loguru import logger
from pydantic_core import to_json

from app.infrastructure.event_bus import Received
from app.infrastructure.live.channels import Selection

REMEMBERED = 256
"""Messages that are kept as they were written: hundreds of clients get the same one."""


class Messages:
    """Writes an event once for all clients that follow the same channels."""

    def __init__(self) -> None:
        """Begin with none."""
        self._written: OrderedDict[tuple[str, ...], str | None] = OrderedDict()

    def write(self, received: Received, selections: Sequence[Selection]) -> str | None:
        """Return a JSON object on one line; None: a channel can't show the event.

        Args:
            received: the event.
            selections: by which the client gets it; the first says what it sees.
        """
        channel = selections[0].channel
        names = [str(selection) for selection in selections]
        key = (received.stream_id, str(received.envelope.id), *names)
        if key in self._written:
            return self._written[key]
        try:
            text = _written(received, names, channel.data(received.envelope))
        except Exception as error:  # noqa: BLE001 - the module's; other events must go on
            logger.opt(exception=error).error(
                "Channel {} can't show {}", channel.name, received.envelope.name
            )
            text = None
        self._written[key] = text
        while len(self._written) > REMEMBERED:
            self._written.popitem(last=False)
        return text


def _written(received: Received, names: Sequence[str], data: Any) -> str:
    envelope = received.envelope
    known = {
        "type": "event",
        "position": received.stream_id,
        "channels": names,
        "id": envelope.id,
        "name": envelope.name,
        "version": envelope.version,
        "time": envelope.occurred_at,
        "data": data,
    }
    return to_json(known).decode()
