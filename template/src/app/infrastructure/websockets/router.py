"""The endpoint `/ws`."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastapi import APIRouter, WebSocket
from starlette.responses import JSONResponse
from starlette.websockets import WebSocketDisconnect, WebSocketState

from app.core.errors import AppError, BadRequestError, ForbiddenError, NotFoundError
from app.core.problems import PROBLEM_JSON
from app.infrastructure.live import (
    ChannelCatalog,
    Clients,
    Credentials,
    Identity,
    Selection,
    Viewer,
    credentials_of,
)
from app.infrastructure.live.connections import cutter
from app.infrastructure.live.settings import LiveSettings
from app.infrastructure.logger import current_context, set_user
from app.infrastructure.websockets.fan_out import FanOut
from app.infrastructure.websockets.origins import is_allowed
from app.infrastructure.websockets.protocol import PROTOCOL, TOKEN_PROTOCOL, CloseCode
from app.infrastructure.websockets.session import Session
from app.infrastructure.websockets.settings import WebSocketSettings

LONGEST_POSITION = 100
GOODBYE_SECONDS = 5.0
"""A client has to take what is left and go; then its connection is cut off."""

router = APIRouter()


class ForeignOriginError(ForbiddenError):
    """Pages of this origin may not connect: see WEBSOCKET_ORIGINS."""


@router.websocket("/ws")
async def live(websocket: WebSocket) -> None:
    """Follow channels over a WebSocket; docs/websockets.md says how."""
    try:
        await _serve(websocket)
    except AppError as error:
        await _refuse(websocket, error)
    except WebSocketDisconnect:
        pass


async def _serve(websocket: WebSocket) -> None:
    container = websocket.app.state.dishka_container
    settings: WebSocketSettings = await container.get(WebSocketSettings)
    viewer = await _viewer(websocket, settings)
    catalog: ChannelCatalog = await container.get(ChannelCatalog)
    clients: Clients = await container.get(Clients)
    selections = await _selections(websocket, catalog, viewer)
    after = websocket.query_params.get("after") or None
    if after and len(after) > LONGEST_POSITION:
        message = "`after` is no position of ours."
        raise BadRequestError(message)
    bus = (await container.get(FanOut)).bus
    cut = cutter(websocket._receive)  # noqa: SLF001 - the server's own; Starlette's is wrapped
    try:
        async with clients.open(viewer, selections, cut, after=after, bus=bus) as client:
            protocol = PROTOCOL if PROTOCOL in _offered(websocket) else None
            await websocket.accept(subprotocol=protocol)
            session = Session(websocket, client, clients, catalog, settings)
            heartbeat = (await container.get(LiveSettings)).live_heartbeat
            code = await session.run(heartbeat, resumed=after is not None)
            if code is not None and websocket.application_state is WebSocketState.CONNECTED:
                with clients.sending(client), suppress(RuntimeError, WebSocketDisconnect):
                    await websocket.close(code, code.name.lower().replace("_", " "))
    finally:
        # Whoever reads nothing gets no goodbye either: the server would wait for it without end.
        asyncio.get_running_loop().call_later(GOODBYE_SECONDS, cut)


async def _viewer(websocket: WebSocket, settings: WebSocketSettings) -> Viewer | None:
    if not settings.enable_websockets:
        message = "This service has no WebSockets: ENABLE_WEBSOCKETS is off."
        raise NotFoundError(message)
    headers = websocket.headers
    if not is_allowed(headers.get("origin"), headers.get("host", ""), settings.websocket_origins):
        raise ForeignOriginError
    given = credentials_of(websocket)
    tokens = [p for p in _offered(websocket) if p.startswith(TOKEN_PROTOCOL)]
    if given.bearer is None and tokens:
        given = Credentials(tokens[0].removeprefix(TOKEN_PROTOCOL), given.cookies)
    identity: Identity = await websocket.app.state.dishka_container.get(Identity)
    viewer = await identity.viewer(given)
    if viewer:
        set_user(viewer.user_id)
    return viewer


async def _selections(
    websocket: WebSocket, catalog: ChannelCatalog, viewer: Viewer | None
) -> list[Selection]:
    asked = websocket.query_params.getlist("channels")
    names = [name.strip() for part in asked for name in part.split(",") if name.strip()]
    return await catalog.select(names, viewer) if names else []


def _offered(websocket: WebSocket) -> list[str]:
    return list(websocket.scope.get("subprotocols", ()))


async def _refuse(websocket: WebSocket, error: AppError) -> None:
    """Answer the handshake with a problem; close where it is done already, or can't be answered."""
    if websocket.application_state is not WebSocketState.CONNECTING:
        await websocket.close(CloseCode.INTERNAL_ERROR)
        return
    document = {
        "type": f"/problems/{error.problem_type()}",
        "title": error.title(),
        "status": int(error.status),
        "detail": error.detail,
        "instance": websocket.url.path,
        "traceId": current_context().trace_id,
    }
    answer = JSONResponse(document, int(error.status), error.headers, PROBLEM_JSON)
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(answer)
    else:
        await websocket.close(CloseCode.POLICY)
