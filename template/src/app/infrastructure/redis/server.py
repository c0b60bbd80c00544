"""The server this process talks to, and connections to it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from redis.asyncio import Redis

from app.core.settings import AppSettings
from app.infrastructure.redis.address import Address, Mode
from app.infrastructure.redis.client import build_client
from app.infrastructure.redis.embedded import EmbeddedServer
from app.infrastructure.redis.multiplexer import Multiplexer
from app.infrastructure.redis.settings import RedisSettings


class Server:
    """The server this process talks to; starts and ends it if it is the embedded one."""

    def __init__(self, settings: RedisSettings) -> None:
        """Look where it is; nothing is started yet."""
        self._embedded: EmbeddedServer | None = None
        self.address = settings.address
        if self.address.mode is Mode.EMBEDDED:
            self._embedded = EmbeddedServer(settings.redis_embedded_dir)
            self.address = replace(Address(Mode.UNIX), path=str(self._embedded.path))

    async def start(self) -> None:
        """Start the embedded server, or join its users."""
        if self._embedded:
            await asyncio.to_thread(self._embedded.acquire)

    def stop(self) -> None:
        """Stop using the embedded server."""
        if self._embedded:
            self._embedded.release()


class RedisConnector:
    """Makes clients. `Redis` is shared; who blocks, or has a thread, needs one of its own."""

    def __init__(self, settings: RedisSettings, app: AppSettings, server: Server) -> None:
        """Know the server."""
        self._settings = settings
        self._name = app.app_name
        self._server = server

    def connect(self, **options: Any) -> Redis:
        """Return a client with a pool of its own; nothing is connected yet.

        Args:
            options: of redis-py, over those the settings imply.
        """
        return build_client(self._settings, self._server.address, self._name, **options)

    def multiplex(
        self, timeout: float | None = None, *, connect_timeout: float | None = None
    ) -> Multiplexer | None:
        """Return a multiplexer; None where the address may change: a client must do there.

        Args:
            timeout: seconds until an answer or a connection is overdue; by default `REDIS_TIMEOUT`.
            connect_timeout: the same for a connection, where it may take longer than an answer.
        """
        address = self._server.address
        if not Multiplexer.possible(address):
            return None
        return Multiplexer(self._settings, address, self._name, timeout, connect_timeout)
