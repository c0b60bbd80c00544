"""`GET /events`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.core.errors import BadRequestError, NotFoundError, UnauthorizedError
from app.core.problems import problem_responses
from app.infrastructure.event_bus import EventBusUnavailableError
from app.infrastructure.live import (
    ChannelCatalog,
    ChannelForbiddenError,
    Clients,
    Identity,
    LiveClient,
    TooManyClientsError,
    UnknownChannelError,
    credentials_of,
)
from app.infrastructure.live.connections import cutter
from app.infrastructure.live.settings import LiveSettings
from app.infrastructure.logger import set_user
from app.infrastructure.sse.settings import SseSettings
from app.infrastructure.sse.stream import stream

LONGEST_ID = 100

# No ScopedRoute: a request's scope lives as long as its answer, and would keep what is in it.
router = APIRouter(tags=["sse"])


@dataclass(frozen=True, slots=True)
class Opened:
    """A client that was let in."""

    client: LiveClient
    clients: Clients
    heartbeat: float
    retry: float
    resumed: bool


async def opened(
    request: Request,
    channels: Annotated[
        list[str],
        Query(
            description="Channels, or topics of them such as `orders:42`; repeated, or with commas."
        ),
    ],
    last_event_id: Annotated[
        str | None,
        Header(description="The `id` seen last: what came after it comes first."),
    ] = None,
) -> AsyncIterator[Opened]:
    """Let a client in before the answer begins, so that a refusal is a proper one."""
    container = request.app.state.dishka_container
    settings: SseSettings = await container.get(SseSettings)
    if not settings.enable_sse:
        message = "This service streams no events: ENABLE_SSE is off."
        raise NotFoundError(message)
    if last_event_id and len(last_event_id) > LONGEST_ID:
        message = "Last-Event-ID is none of ours."
        raise BadRequestError(message)
    viewer = await (await container.get(Identity)).viewer(credentials_of(request))
    if viewer:
        set_user(viewer.user_id)
    names = [name.strip() for part in channels for name in part.split(",") if name.strip()]
    selections = await (await container.get(ChannelCatalog)).select(names, viewer)
    clients: Clients = await container.get(Clients)
    cut = cutter(request.receive)
    async with clients.open(viewer, selections, cut, after=last_event_id or None) as client:
        yield Opened(
            client,
            clients,
            (await container.get(LiveSettings)).live_heartbeat,
            settings.sse_retry_interval,
            resumed=bool(last_event_id),
        )


@router.get(
    "/events",
    response_class=EventSourceResponse,
    responses=problem_responses(
        UnauthorizedError,
        ChannelForbiddenError,
        NotFoundError,
        UnknownChannelError,
        TooManyClientsError,
        EventBusUnavailableError,
    ),
)
async def stream_events(
    given: Annotated[Opened, Depends(opened)],
) -> AsyncIterator[ServerSentEvent]:
    """Stream the events of channels as they happen (`text/event-stream`)."""
    source = stream(
        given.client,
        given.clients,
        heartbeat=given.heartbeat,
        retry=given.retry,
        resumed=given.resumed,
    )
    async for event in source:
        yield event
