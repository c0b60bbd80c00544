"""Build the client for what `REDIS_URL` names."""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from app.infrastructure.redis.address import Address, Mode
from app.infrastructure.redis.settings import RedisSettings

PAUSE_FIRST = 0.05
PAUSE_LONGEST = 1.0
"""Seconds between repetitions of a command whose connection was lost."""


def build_client(settings: RedisSettings, address: Address, name: str, **more: Any) -> Redis:
    """Return a client; nothing is connected yet. Answers are `str`.

    When all connections are in use, commands wait for one, up to `REDIS_TIMEOUT`; with Sentinel and
    Cluster redis-py has no such pool, and they fail at once.

    Args:
        settings: timeouts and sizes.
        address: the server; an embedded one is given by its socket.
        name: shown by `CLIENT LIST`.
        more: options of redis-py, over these.
    """
    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "decode_responses": True,
        # Bytes that are no text arrive as surrogates (PEP 383), not as an error in the middle of an
        # answer.
        "encoding_errors": "surrogateescape",
        "client_name": name,
        "socket_timeout": settings.redis_timeout,
        "socket_connect_timeout": settings.redis_timeout,
        "health_check_interval": settings.redis_health_interval,
        "max_connections": settings.redis_max_connections,
        "retry": Retry(
            ExponentialWithJitterBackoff(base=PAUSE_FIRST, cap=PAUSE_LONGEST),
            settings.redis_retries,
        ),
        **more,
    }
    if address.tls:
        options["ssl"] = True
        if settings.redis_tls_ca:
            options["ssl_ca_certs"] = str(settings.redis_tls_ca)
    if address.mode is Mode.CLUSTER:
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        # Both speak the same commands; a cluster refuses those over keys of several nodes.
        return cast("Redis", RedisCluster(startup_nodes=nodes, **options))
    options["db"] = address.database
    if address.mode is Mode.SENTINEL:
        watchers = {"socket_timeout": settings.redis_timeout, "ssl": address.tls}
        sentinel: Any = Sentinel  # redis-py has no types for it
        client: Redis = sentinel(list(address.hosts), sentinel_kwargs=watchers).master_for(
            address.service, **options
        )
        return client
    if address.mode is Mode.UNIX:
        return _patient(Redis(unix_socket_path=address.path, **options), settings.redis_timeout)
    host, port = address.hosts[0]
    return _patient(Redis(host=host, port=port, **options), settings.redis_timeout)


def _patient(client: Redis, timeout: float) -> Redis:
    """Let who finds all connections in use wait for one, instead of failing at once."""
    pool = client.connection_pool
    client.connection_pool = BlockingConnectionPool(
        max_connections=pool.max_connections,
        timeout=timeout,
        connection_class=pool.connection_class,
        **pool.connection_kwargs,
    )
    return client


async def close_client(client: Redis) -> None:
    """Close all connections, also those redis-py leaves open.

    They are those to the Sentinels, and those of a cluster whose last command failed: it was about
    to ask for the nodes again, and counts as closed.
    """
    await client.aclose()
    if isinstance(client, RedisCluster):
        await client.nodes_manager.aclose()
        await client.nodes_manager.aclose("startup_nodes")
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    for sentinel in manager.sentinels if manager else ():
        await sentinel.aclose()
