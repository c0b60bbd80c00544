"""One WebSocket: commands in, events out."""

from __future__ import annotations

import asyncio
from typing import assert_never

from loguru import logger
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.core.errors import AppError
from app.infrastructure.event_bus import SlowFollowerError
from app.infrastructure.live import ChannelCatalog, Clients, CredentialsExpiredError, LiveClient
from app.infrastructure.live.clients import TOO_SLOW
from app.infrastructure.websockets.protocol import (
    COMMANDS,
    PROTOCOL,
    CloseCode,
    Ping,
    Subscribe,
    Unsubscribe,
    frame,
)
from app.infrastructure.websockets.settings import WebSocketSettings


class Session:
    """Serves one client until one of both goes. The handshake is done."""

    def __init__(
        self,
        websocket: WebSocket,
        client: LiveClient,
        clients: Clients,
        catalog: ChannelCatalog,
        settings: WebSocketSettings,
    ) -> None:
        """Serve `client` over `websocket`."""
        self._websocket = websocket
        self._client = client
        self._clients = clients
        self._catalog = catalog
        self._settings = settings
        self._errors = 0
        # Whoever sends holds it: an event of a channel can't overtake the answer to `subscribe`.
        self._turn = asyncio.Lock()

    async def run(self, heartbeat: float, *, resumed: bool) -> CloseCode | None:
        """Serve it; return why to close, None: the client is gone.

        Args:
            heartbeat: seconds of silence after which it is told that the stream is alive.
            resumed: whether what it has missed, or that it has, comes first.
        """
        follower = self._client.follower
        await self._send(
            frame(
                "hello",
                protocol=PROTOCOL,
                channels=list(self._client.selections),
                position=None if resumed else follower.began_at,
                heartbeat=heartbeat,
            )
        )
        if not follower.is_complete:
            await self._reset("too-long-ago", follower.began_at)
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write(heartbeat))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return await done.pop()

    async def _write(self, heartbeat: float) -> CloseCode | None:
        while True:
            try:
                item = await self._client.next(heartbeat)
                if item.after_gap:
                    # Without a position where an event follows, which may not arrive any more.
                    position = item.position if item.text is None else None
                    await self._reset("events-missed", position)
                if item.text is not None:
                    await self._send(item.text)
                elif not item.after_gap:
                    await self._send(frame("alive", position=item.position))
            except StopAsyncIteration:
                return CloseCode.RESTART
            except SlowFollowerError:
                self._clients.cut(self._client, TOO_SLOW)
                return CloseCode.TRY_AGAIN
            except CredentialsExpiredError:
                return CloseCode.UNAUTHORIZED
            except (WebSocketDisconnect, RuntimeError):
                return None  # closed while something was sent

    async def _read(self) -> CloseCode | None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return None
            text = message.get("text")
            if text is None:
                return CloseCode.UNSUPPORTED
            if len(text.encode()) > self._settings.websocket_max_message:
                return CloseCode.TOO_BIG
            try:
                command = COMMANDS.validate_json(text)
            except ValidationError:
                problem = "The message is no command of this protocol."
                await self._refuse(None, "invalid-command", problem)
            else:
                try:
                    await self._follow(command)
                except AppError as error:
                    await self._refuse(command.id, error.problem_type(), error.detail)
            if self._errors >= self._settings.websocket_max_errors:
                logger.warning("A WebSocket is closed: too many commands that can't be followed")
                return CloseCode.POLICY

    async def _follow(self, command: Subscribe | Unsubscribe | Ping) -> None:
        client = self._client
        match command:
            case Ping():
                await self._send(frame("pong", id=command.id))
            case Subscribe():
                new = [name for name in command.channels if name not in client.selections]
                chosen = (
                    await self._catalog.select(new, client.viewer, besides=len(client.selections))
                    if new
                    else []
                )
                async with self._turn:
                    client.selections |= {str(selection): selection for selection in chosen}
                    await self._answer(command)
            case Unsubscribe():
                async with self._turn:
                    for name in command.channels:
                        client.selections.pop(name, None)
                    await self._answer(command)
            case _:
                assert_never(command)

    async def _answer(self, command: Subscribe | Unsubscribe) -> None:
        known = list(self._client.selections)
        await self._out(frame("ack", id=command.id, channels=known, position=self._client.position))

    async def _refuse(self, identifier: str | int | None, problem: str, detail: str) -> None:
        self._errors += 1
        await self._send(frame("error", id=identifier, problem=problem, detail=detail))

    async def _reset(self, reason: str, position: str | None) -> None:
        await self._send(frame("reset", reason=reason, position=position))

    async def _send(self, text: str) -> None:
        async with self._turn:
            await self._out(text)

    async def _out(self, text: str) -> None:
        with self._clients.sending(self._client):
            await self._websocket.send_text(text)
