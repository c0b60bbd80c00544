"""One event, and how it travels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from app.core.errors import AppError
from app.core.json_names import EITHER_NAME

EventT = TypeVar("EventT", bound="Event")
NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
LONGEST_NAME = 100
"""Characters; brokers route by it, and allow 255 bytes."""
LARGEST_EVENT = 256 * 1024
"""Bytes, as it travels. An event says what has happened; large data are fetched."""
LONGEST_REASON = 500
"""Characters of why something is no event: it quotes what came, and goes into logs and headers."""
RESERVED = ("name", "version")
SPECIFICATION = "1.0"
"""Of CloudEvents: github.com/cloudevents/spec, JSON format."""


class InvalidEventError(AppError):
    """This is no event the service can use."""


class UnknownVersionError(InvalidEventError):
    """The event has a newer version than this service knows."""


class Event(BaseModel):
    """Something that has happened. Subclasses set `name`, in words with dots, and their fields.

    Fields may be added with a default at any time: old and new code read each other's events, what
    one does not know is left out. Any other change is a new `version`, with an `upcast`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: ClassVar[str]
    """What has happened, about what: `user.registered`. Stays as it is for ever."""
    version: ClassVar[int] = 1
    """Raised by each change that is more than a new field with a default."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Check the class.

        Raises:
            TypeError: the name or the version can't be had.
        """
        super().__pydantic_init_subclass__(**kwargs)
        if taken := [field for field in RESERVED if field in cls.model_fields]:
            message = f"{cls.__name__}.{taken[0]} is what the event is called: rename the field"
            raise TypeError(message)
        name = getattr(cls, "name", None)
        if name is None:  # a base of others
            return
        if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            message = (
                f"{cls.__name__}.name is {name!r}: take small letters, digits, _ and -, in words "
                f"with dots, {LONGEST_NAME} characters at most, such as user.registered"
            )
            raise TypeError(message)
        if cls.version < 1:
            message = f"{cls.__name__}.version is {cls.version!r}: versions count from 1"
            raise TypeError(message)

    @classmethod
    def upcast(cls, version: int, data: dict[str, Any]) -> dict[str, Any]:
        """Return the data of an older version as this one has them. By default they do already.

        Args:
            version: lower than the one of this class.
            data: as they were published; a copy, to be changed at will.
        """
        del version
        return data


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Envelope:
    """An event on its way. On a wire it is a CloudEvent (1.0, JSON format)."""

    id: UUID
    """UUIDv7. The same however often it is delivered: two of one id are one event."""
    name: str
    version: int
    """Both as of `Event`."""
    occurred_at: datetime
    """When it was published, in UTC."""
    source: str
    """The service that has published it."""
    key: str | None = None
    """What it is about, such as `user:1`: events of one key leave an outbox in order."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Context of the publisher. Names of small letters and digits (CloudEvents, naming)."""
    event: Event | None = None
    """As the publisher made it, where it has not travelled."""
    known_data: dict[str, Any] | None = None
    """Its fields, where they have been written as JSON knows values; see `data`."""

    def __repr__(self) -> str:
        """Return what tells it from others; no data."""
        return f"<Envelope {self.name} {self.id}>"

    @property
    def data(self) -> dict[str, Any]:
        """The event's fields, as JSON knows values.

        Raises:
            InvalidEventError: a field can't be written as JSON.
        """
        if self.known_data is None:
            try:
                self.known_data = self.event.model_dump(mode="json") if self.event else {}
            except PydanticSerializationError as error:
                message = f"{self.name} can't be written as JSON: {error}"
                raise InvalidEventError(message) from error
        return self.known_data

    def read(self, kind: type[EventT]) -> EventT:
        """Return the event as the class knows it, an older version upcast.

        Raises:
            UnknownVersionError: it is newer than the class.
            InvalidEventError: it is another event, or its data are not as they should be.
        """
        if isinstance(self.event, kind):
            return self.event
        if self.name != kind.name:
            message = f"{self.name} is no {kind.name}"
            raise InvalidEventError(message)
        if self.version > kind.version:
            message = f"{self.name} has version {self.version}, known here is {kind.version}"
            raise UnknownVersionError(message)
        data = self.data
        try:
            if self.version < kind.version:
                data = kind.upcast(self.version, deepcopy(data))
            return kind.model_validate_json(to_json(data), **EITHER_NAME)
        except ValidationError as error:
            wrong = "; ".join(f"{e['loc']}: {e['msg']}" for e in error.errors(include_input=False))
            message = f"{self.name} version {self.version} is not whole: {wrong}"
            raise InvalidEventError(message) from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            message = f"{kind.__name__}.upcast({self.version}): {type(error).__name__}: {error}"
            raise InvalidEventError(message) from error

    def to_json(self) -> str:
        """Return it as it travels.

        Raises:
            InvalidEventError: it can't be written as JSON, or is too large.
        """
        known: dict[str, Any] = {
            **self.headers,
            "specversion": SPECIFICATION,
            "id": str(self.id),
            "source": self.source,
            "type": self.name,
            "time": self.occurred_at.isoformat(),
            "eventversion": self.version,
            "data": self.data,
        }
        if self.key is not None:
            known["partitionkey"] = self.key
        body = to_json(known)
        if len(body) > LARGEST_EVENT:
            message = f"{self.name} has {len(body)} bytes, {LARGEST_EVENT} may travel: send an id"
            raise InvalidEventError(message)
        return body.decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Envelope:
        """Read what has travelled, whoever wrote it. Attributes that are not known are headers.

        Raises:
            InvalidEventError: it is no event; the text says why.
        """
        try:
            known = _attributes(from_json(text))
            data = known.pop("data", None)
            return cls(
                id=UUID(known.pop("id")),
                occurred_at=_moment(known.pop("time")),
                source=str(known.pop("source")),
                name=_name(known.pop("type")),
                version=_version(known.pop("eventversion", 1)),
                key=_text(known.pop("partitionkey", None)),
                known_data=_object(data),
                headers={name: value for name, value in known.items() if isinstance(value, str)},
            )
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            message = f"no event: {error}"[:LONGEST_REASON]
            raise InvalidEventError(message) from error
        except KeyError as error:
            message = f"no event: it has no {error.args[0]}"
            raise InvalidEventError(message) from error


def _attributes(found: object) -> dict[str, Any]:
    known = _object(found)
    specification = str(known.pop("specversion"))
    if specification.partition(".")[0] != SPECIFICATION.partition(".")[0]:
        message = f"CloudEvents {specification} is not known here"
        raise ValueError(message)
    return known


def _object(found: object) -> dict[str, Any]:
    if found is None:
        return {}
    if not isinstance(found, dict):
        message = f"{type(found).__name__} instead of an object"
        raise TypeError(message)
    return found


def _name(found: object) -> str:
    if not isinstance(found, str) or not NAME.fullmatch(found) or len(found) > LONGEST_NAME:
        message = f"its type is {str(found)[:LONGEST_NAME]!r}"
        raise ValueError(message)
    return found


def _moment(found: object) -> datetime:
    moment = datetime.fromisoformat(str(found))
    if moment.tzinfo is None:
        message = "its time has no zone"
        raise ValueError(message)
    return moment.astimezone(UTC)


def _text(found: object) -> str | None:
    return None if found is None else str(found)


def _version(found: object) -> int:
    if not isinstance(found, int) or found < 1:
        message = f"its version is {str(found)[:LONGEST_NAME]!r}"
        raise ValueError(message)
    return found
