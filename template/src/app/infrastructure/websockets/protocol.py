"""The protocol `live.v1`: JSON objects in text messages, each with a `type`.

docs/websockets.md describes it. Unknown members are left out, so that members may be added.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter
from pydantic_core import to_json

PROTOCOL = "live.v1"
"""Subprotocol of the handshake; another number when old clients would not understand."""
TOKEN_PROTOCOL = "bearer."  # noqa: S105 - the beginning of a name
"""A browser can't set headers: `new WebSocket(url, ["live.v1", "bearer." + token])`."""

Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class CloseCode(IntEnum):
    """Why the server closes (RFC 6455 section 7.4, and IANA's registry)."""

    UNSUPPORTED = 1003
    """A binary message: the protocol has none."""
    POLICY = 1008
    """Too many commands that can't be followed."""
    TOO_BIG = 1009
    """A message is larger than `WEBSOCKET_MAX_MESSAGE`."""
    INTERNAL_ERROR = 1011
    """Something went wrong here."""
    RESTART = 1012
    """The process ends: connect again, with `after`."""
    TRY_AGAIN = 1013
    """Events came faster than they were taken: connect again, with `after`."""
    UNAUTHORIZED = 3000
    """The credentials have ended."""


class Command(BaseModel):
    """What a client sends. Its `id` comes back in the answer."""

    model_config = ConfigDict(extra="ignore")

    id: str | int | None = None


class Subscribe(Command):
    """Follow more channels, from now on."""

    type: Literal["subscribe"]
    channels: Annotated[list[Word], Field(min_length=1, max_length=1000)]


class Unsubscribe(Command):
    """Follow channels no more."""

    type: Literal["unsubscribe"]
    channels: Annotated[list[Word], Field(min_length=1, max_length=1000)]


class Ping(Command):
    """Ask for a `pong`: a page can't send a ping of the WebSocket protocol."""

    type: Literal["ping"]


COMMANDS: TypeAdapter[Subscribe | Unsubscribe | Ping] = TypeAdapter(
    Annotated[Subscribe | Unsubscribe | Ping, Field(discriminator="type")]
)


def frame(kind: str, **members: Any) -> str:
    """Return what is sent to a client."""
    return to_json({"type": kind, **members}).decode()
