"""Events are typed facts, said once they are so, in a form others can read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from dishka import AsyncContainer
from pydantic import BaseModel, Field, TypeAdapter

from app.core.container import build_container
from app.core.discovery import Registry
from app.core.envelopes import LARGEST_EVENT
from app.core.events import (
    Envelope,
    Event,
    EventContext,
    EventDetour,
    Events,
    EventSink,
    InvalidEventError,
    UnknownVersionError,
)
from app.core.ids import new_id
from app.core.module import Module
from app.core.project import project
from app.core.settings import load_settings

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
ANYTHING: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


class Ordered(Event):
    name = "order.placed"

    order_id: UUID
    lines: tuple[str, ...] = ()


class OrderedLater(Event):
    """The same, two versions on: `lines` were renamed, then counted."""

    name = "order.placed"
    version = 3

    order_id: UUID
    items: int

    @classmethod
    def upcast(cls, version: int, data: dict[str, Any]) -> dict[str, Any]:
        if version < 2:
            data["things"] = data.pop("lines")
        return {"order_id": data["order_id"], "items": len(data["things"])}


class Nameless(Event):
    """A base of others."""


class Opaque(Event):
    name = "opaque"

    thing: Any


def envelope(event: Event, **more: Any) -> Envelope:
    return Envelope(
        id=new_id(),
        name=event.name,
        version=event.version,
        occurred_at=NOW,
        source="shop",
        event=event,
        **more,
    )


def travelled(sent: Envelope) -> Envelope:
    return Envelope.from_json(sent.to_json())


async def events_of(*contributes: object) -> Events:
    module = Module(name="probe", summary="test", contributes=contributes)
    return await build_container(Registry((module,)), load_settings([])).get(Events)


@pytest.mark.parametrize(
    ("name", "version"),
    [("", 1), ("User.registered", 1), ("a..b", 1), ("a.*", 1), ("a" * 101, 1), ("a", 0)],
)
def test_a_name_or_version_that_can_not_be_had_is_refused_with_the_class(
    name: str, version: int
) -> None:
    with pytest.raises(TypeError, match=r"Wrong\.(name|version) is"):
        type("Wrong", (Event,), {"name": name, "version": version, "__module__": __name__})


@pytest.mark.filterwarnings("ignore:Field name:UserWarning")  # pydantic says so too
def test_a_field_can_not_be_called_as_the_event_is() -> None:
    with pytest.raises(TypeError, match="rename the field"):
        type("Wrong", (Event,), {"__annotations__": {"version": int}, "__module__": __name__})


def test_an_event_travels_as_a_cloud_event() -> None:
    sent = envelope(Ordered(order_id=new_id()), key="order:1", headers={"userid": "7"})

    assert ANYTHING.validate_json(sent.to_json()) == {
        "specversion": "1.0",
        "id": str(sent.id),
        "source": "shop",
        "type": "order.placed",
        "time": "2026-01-02T03:04:05.000678+00:00",
        "eventversion": 1,
        "partitionkey": "order:1",
        "userid": "7",
        "data": {"order_id": str(sent.read(Ordered).order_id), "lines": []},
    }


def test_it_arrives_as_it_was_sent() -> None:
    sent = envelope(Ordered(order_id=new_id(), lines=("tea",)), key="k", headers={"tenant": "t"})

    got = travelled(sent)

    assert got.read(Ordered) == sent.event
    assert (got.id, got.name, got.version, got.occurred_at) == (sent.id, sent.name, 1, NOW)
    assert (got.key, got.headers, got.source) == ("k", {"tenant": "t"}, "shop")
    assert got.to_json() == sent.to_json()


def test_it_arrives_whatever_its_fields_are_called_elsewhere() -> None:
    class Place(BaseModel):
        post_code: str = Field(alias="postCode")

    class Moved(Event):
        name = "user.moved"

        to: Place

    event = Moved(to=Place(postCode="1010"))

    assert travelled(envelope(event)).read(Moved) == event


def test_a_field_that_is_not_known_is_left_out() -> None:
    """Additive changes need no new version: old code reads new events."""
    got = travelled(envelope(Ordered(order_id=new_id())))
    got.known_data = {**got.data, "added": 1}

    assert got.read(Ordered).lines == ()


def test_an_older_version_is_upcast() -> None:
    old = travelled(envelope(Ordered(order_id=new_id(), lines=("tea", "milk"))))

    assert old.read(OrderedLater).items == 2
    assert "lines" in old.data


def test_every_handler_upcasts_what_was_published() -> None:
    """Whatever the one before has made of it: one delivery has one envelope for all."""

    class Shipped(Event):
        name = "order.shipped"
        version = 2

        to: dict[str, str]

        @classmethod
        def upcast(cls, version: int, data: dict[str, Any]) -> dict[str, Any]:
            del version
            data["to"]["city"] = data["to"].pop("town")
            return data

    old = envelope(Opaque(thing=1))
    old.name, old.event, old.known_data = "order.shipped", None, {"to": {"town": "Rome"}}

    for _ in range(2):
        assert old.read(Shipped).to == {"city": "Rome"}
    assert old.data == {"to": {"town": "Rome"}}


def test_a_newer_version_is_refused() -> None:
    new = travelled(envelope(OrderedLater(order_id=new_id(), items=1)))

    with pytest.raises(UnknownVersionError, match="has version 3, known here is 1"):
        new.read(Ordered)


def test_what_is_not_whole_is_refused_and_shows_no_data() -> None:
    got = travelled(envelope(Ordered(order_id=new_id())))
    got.known_data = {"order_id": "secret"}
    with pytest.raises(InvalidEventError, match="order_id") as caught:
        got.read(Ordered)
    assert "secret" not in str(caught.value)

    with pytest.raises(InvalidEventError, match=r"upcast\(1\): KeyError"):
        got.read(OrderedLater)
    with pytest.raises(InvalidEventError, match=r"order\.placed is no opaque"):
        got.read(Opaque)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nonsense", "no event: "),
        ("[]", "list instead of an object"),
        ("{}", "it has no specversion"),
        ('{"specversion": "2.0"}', r"CloudEvents 2\.0"),
        ('{"specversion": "1.0"}', "it has no id"),
        ('{"specversion": "1.0", "id": 7}', "no event: "),
        ("[" * 100_000, "no event: "),
    ],
)
def test_what_is_no_event_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidEventError, match=problem):
        Envelope.from_json(text)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("id", "7"),
        ("type", "../etc"),
        ("type", None),
        ("time", "yesterday"),
        ("time", "2026-01-02T03:04:05"),
        ("time", "0001-01-01T00:00:00+14:00"),
        ("eventversion", "1"),
        ("eventversion", 0),
        ("data", []),
    ],
)
def test_an_attribute_that_makes_no_sense_is_refused(attribute: str, value: object) -> None:
    known = ANYTHING.validate_json(envelope(Ordered(order_id=new_id())).to_json())

    with pytest.raises(InvalidEventError, match="no event"):
        Envelope.from_json(ANYTHING.dump_json({**known, attribute: value}))


@pytest.mark.parametrize("attribute", ["specversion", "time"])
def test_a_reason_does_not_quote_all_that_came(attribute: str) -> None:
    """It goes into headers of messages, which must fit one frame, and into logs."""
    known = {"specversion": "1.0", "id": str(new_id()), attribute: "x" * 200_000}

    with pytest.raises(InvalidEventError) as caught:
        Envelope.from_json(ANYTHING.dump_json(known))
    assert len(str(caught.value)) <= 500


def test_what_can_not_be_written_or_is_too_large_is_refused() -> None:
    with pytest.raises(InvalidEventError, match="can't be written as JSON"):
        envelope(Opaque(thing=object())).to_json()
    with pytest.raises(InvalidEventError, match="may travel: send an id"):
        envelope(Opaque(thing="x" * LARGEST_EVENT)).to_json()


async def test_publishing_with_nobody_there_does_nothing() -> None:
    events = await events_of()

    published = await events.publish(Ordered(order_id=new_id()))

    assert published.name == "order.placed"


async def test_every_sink_gets_it_also_when_one_fails() -> None:
    got: list[str] = []

    async def fail(_: AsyncContainer, __: Sequence[Envelope]) -> None:
        message = "no room"
        raise OSError(message)

    async def keep(_: AsyncContainer, envelopes: Sequence[Envelope]) -> None:
        got.extend(envelope.name for envelope in envelopes)

    events = await events_of(EventSink(fail), EventSink(keep))
    with pytest.raises(OSError, match="no room"):
        await events.publish(Ordered(order_id=new_id()))
    assert got == ["order.placed"]

    events = await events_of(EventSink(fail), EventSink(fail))
    with pytest.raises(ExceptionGroup, match="sinks failed"):
        await events.publish(Ordered(order_id=new_id()))


async def test_the_last_detour_is_asked_first() -> None:
    asked: list[str] = []

    def detour(name: str, *, takes: bool) -> EventDetour:
        async def take(_: AsyncContainer, __: Sequence[Envelope]) -> bool:
            asked.append(name)
            return takes

        return EventDetour(take)

    async def keep(_: AsyncContainer, __: Sequence[Envelope]) -> None:
        asked.append("sink")

    events = await events_of(
        EventSink(keep), detour("a", takes=False), detour("b", takes=True), detour("c", takes=False)
    )
    await events.publish(Ordered(order_id=new_id()))
    assert asked == ["c", "b"]

    await events.publish(Ordered(order_id=new_id()), immediate=True)
    assert asked[2:] == ["sink"]


async def test_the_publishers_context_travels() -> None:
    events = await events_of(
        EventContext(lambda: {"userid": "7"}), EventContext(lambda: {"tenant": "t"})
    )

    published = await events.publish(Ordered(order_id=new_id()), key="order:1")

    assert published.headers == {"userid": "7", "tenant": "t"}
    assert (published.source, published.key) == (project().name, "order:1")


async def test_an_event_without_a_name_can_not_be_published() -> None:
    with pytest.raises(InvalidEventError, match="Nameless has no name"):
        await (await events_of()).publish(Nameless())
