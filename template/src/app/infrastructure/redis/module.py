"""The redis module."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from dishka import AsyncContainer, Provider, Scope
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.errors import ConfigurationError
from app.core.module import Module
from app.core.settings import AppSettings
from app.infrastructure.redis.address import Address, Mode
from app.infrastructure.redis.client import build_client, close_client
from app.infrastructure.redis.embedded import EmbeddedServer
from app.infrastructure.redis.health import REDIS_CHECK
from app.infrastructure.redis.keys import KeySpace
from app.infrastructure.redis.lock import Locks
from app.infrastructure.redis.pubsub import PubSub
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


def provide_client(settings: RedisSettings, app: AppSettings, server: Server) -> Redis:
    """One client per process; its pool serves all tasks."""
    return build_client(settings, server.address, app.app_name)


def provide_keys(app: AppSettings) -> KeySpace:
    """Keys begin with the name of the service."""
    return KeySpace(app.app_name)


provider = Provider(scope=Scope.APP)
provider.provide(Server)
provider.provide(provide_client)
provider.provide(provide_keys)
provider.provide(Locks)
provider.provide(PubSub)


async def start(container: AsyncContainer) -> None:
    """Start the embedded server if it is asked for, then ask for an answer.

    Raises:
        ConfigurationError: there is none.
    """
    server = await container.get(Server)
    await server.start()
    redis = await container.get(Redis)
    try:
        await redis.ping()
    except (RedisError, OSError) as error:
        message = (
            f"Redis at {server.address!r} can't be used ({type(error).__name__}): start it, or set "
            "REDIS_URL and REDIS_PASSWORD"
        )
        raise ConfigurationError(message) from error


async def stop(container: AsyncContainer) -> None:
    """Close all connections, then leave the embedded server."""
    await close_client(await container.get(Redis))
    (await container.get(Server)).stop()


module = Module(
    name="redis",
    summary="Redis, Valkey, Sentinel or Cluster; an embedded Valkey for development",
    settings=RedisSettings,
    providers=(provider,),
    startup=start,
    shutdown=stop,
    health_checks=(REDIS_CHECK,),
)
