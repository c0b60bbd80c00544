"""The redis module."""

from __future__ import annotations

from dishka import AsyncContainer, Provider, Scope
from redis.asyncio import Redis

from app.core.errors import ConfigurationError
from app.core.module import Module
from app.core.settings import AppSettings
from app.infrastructure.redis.client import close_client
from app.infrastructure.redis.errors import REDIS_ERRORS
from app.infrastructure.redis.health import REDIS_CHECK
from app.infrastructure.redis.keys import KeySpace
from app.infrastructure.redis.lock import Locks
from app.infrastructure.redis.pubsub import PubSub
from app.infrastructure.redis.server import RedisConnector, Server
from app.infrastructure.redis.settings import RedisSettings


def provide_client(connector: RedisConnector) -> Redis:
    """One client per process; its pool serves all tasks."""
    return connector.connect()


def provide_keys(app: AppSettings) -> KeySpace:
    """Keys begin with the name of the service."""
    return KeySpace(app.app_name)


provider = Provider(scope=Scope.APP)
provider.provide(Server)
provider.provide(RedisConnector)
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
    except REDIS_ERRORS as error:
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
