"""A service with channels and users, for tests: `program.py PORT`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from dishka import AsyncContainer
from fastapi import APIRouter, FastAPI, Request

from app.api import create_app
from app.api.server import serve
from app.core.discovery import Registry, discover
from app.core.errors import UnauthorizedError
from app.core.events import Envelope, Event, Events
from app.core.module import Module
from app.infrastructure.live import Access, Authenticator, Channel, Clients, Credentials, Viewer

NEEDED = {
    "api", "health", "logger", "redis", "event_bus", "event_bus_redis", "live", "sse", "websockets",
}  # fmt: skip
COOKIE = "session"
SHORT = 1.5
"""Seconds for which a token of that kind holds."""

router = APIRouter()


class Ticked(Event):
    name = "tick.happened"

    number: int
    owner: str | None = None
    topic: str | None = None
    padding: str = ""


class Told(Event):
    name = "news.told"

    number: int


async def authenticate(_: AsyncContainer, given: Credentials) -> Viewer | None:
    """`user-ada` is Ada, `short-ada` is she for a moment; anything else is refused."""
    token = given.bearer or given.cookies.get(COOKIE)
    if token is None:
        return None
    kind, _dash, name = token.partition("-")
    if kind not in {"user", "short"}:
        raise UnauthorizedError
    ends = datetime.now(UTC) + timedelta(seconds=SHORT) if kind == "short" else None
    return Viewer(name, ends)


async def never(_: AsyncContainer, viewer: Viewer | None, topic: str | None) -> bool:
    """Let nobody in, but Ada to her own topic."""
    return viewer is not None and viewer.user_id == topic


def owner_of(envelope: Envelope) -> str | None:
    found: str | None = envelope.data["owner"]
    return found


def topic_of(envelope: Envelope) -> str | None:
    found: str | None = envelope.data["topic"]
    return found


def number_of(envelope: Envelope) -> dict[str, int]:
    """Show one field; of a negative one, nothing can be shown."""
    number: int = envelope.data["number"]
    if number < 0:
        raise ZeroDivisionError
    return {"number": number}


CHANNELS = (
    Channel(name="ticks", events=("tick.*",), access=Access.PUBLIC, topic=topic_of),
    Channel(name="news", events=("news.*",), data=number_of),
    Channel(name="mine", events=("tick.*",), access=Access.OWN, owner=owner_of),
    Channel(name="rooms", events=("tick.*",), topic=topic_of, may=never),
)


@router.post("/publish")
async def publish(  # noqa: PLR0913, PLR0917 - what an event may be
    request: Request,
    first: int = 1,
    count: int = 1,
    owner: str | None = None,
    topic: str | None = None,
    padding: int = 0,
) -> None:
    events = await request.app.state.dishka_container.get(Events)
    for number in range(first, first + count):
        await events.publish(Ticked(number=number, owner=owner, topic=topic, padding="x" * padding))


@router.post("/tell")
async def tell(request: Request, number: int) -> None:
    events = await request.app.state.dishka_container.get(Events)
    await events.publish(Told(number=number))


@router.get("/counts")
async def counts(request: Request) -> dict[str, int]:
    clients = await request.app.state.dishka_container.get(Clients)
    return {"clients": len(clients), **clients.counts}


def create(more: Sequence[object] = ()) -> FastAPI:
    known = [module for module in discover().modules if module.name in NEEDED]
    probe = Module(
        name="probe",
        summary="Channels for tests",
        routers=(router,),
        contributes=(*CHANNELS, Authenticator(authenticate=authenticate), *more),
    )
    return create_app(registry=Registry((*known, probe)))


if __name__ == "__main__":
    os.environ.setdefault("APP_ENV", "test")
    serve(host="127.0.0.1", port=int(sys.argv[1]), app="program:create")
