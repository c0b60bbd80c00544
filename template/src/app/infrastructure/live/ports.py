"""What other modules contribute: channels, and who is asking."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from dishka import AsyncContainer

from app.core.errors import ConfigurationError
from app.core.events import Envelope
from app.infrastructure.event_bus.patterns import compiled

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
TOPIC = re.compile(r"[A-Za-z0-9_.@-]{1,128}")


class Access(StrEnum):
    """Who may follow a channel."""

    PUBLIC = "public"
    """Anybody, also who is not known. When deployed, only with `LIVE_ANONYMOUS`."""
    SIGNED_IN = "signed-in"
    """Every user, everything."""
    OWN = "own"
    """Every user, only what is his: `Channel.owner` says whose an event is."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """A user who follows."""

    user_id: str
    expires_at: datetime | None = None
    """When the credentials end, in UTC: his streams end with them."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brings along to say who is asking."""

    bearer: str | None = field(default=None, repr=False)
    """The token of `Authorization: Bearer`."""
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticator:
    """Tells who is asking. The first one that knows him is believed.

    `authenticate` gets the application's container: it opens a scope of its own for what it has to
    look up, so that no stream holds a database connection. None: these are no credentials it knows;
    `UnauthorizedError`: they are, and they are not valid.
    """

    authenticate: Callable[[AsyncContainer, Credentials], Awaitable[Viewer | None]]


def data_of(envelope: Envelope) -> Any:
    """Return the event's own fields."""
    return envelope.data


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Events clients may follow, under a name. What no channel has never leaves the service.

    A client asks for `orders`, or for one topic of it: `orders:42`.

    Raises:
        ConfigurationError: it can't be used as it is declared.
    """

    name: str
    events: tuple[str, ...]
    """Patterns of names, as of `@on`."""
    access: Access = Access.SIGNED_IN
    owner: Callable[[Envelope], str | None] | None = None
    """Whose an event is: the id of a user. None: nobody's. Needed by `Access.OWN`."""
    topic: Callable[[Envelope], str | None] | None = None
    """What an event is about, such as the number of an order."""
    may: Callable[[AsyncContainer, Viewer | None, str | None], Awaitable[bool]] | None = None
    """Asked before somebody follows a topic (None: all of the channel), beside `access`."""
    data: Callable[[Envelope], Any] = data_of
    """What clients see of an event, as pydantic can write it."""

    def __post_init__(self) -> None:
        """Check it."""
        problem = ""
        if not NAME.fullmatch(self.name):
            problem = "its name must begin with a small letter; digits, _ and - may follow"
        elif not self.events:
            problem = "it has no events"
        elif self.access is Access.OWN and self.owner is None:
            problem = "Access.OWN needs owner=, which says whose an event is"
        if problem:
            message = f"Channel {self.name!r}: {problem}"
            raise ConfigurationError(message)
        for pattern in self.events:
            compiled(pattern)
