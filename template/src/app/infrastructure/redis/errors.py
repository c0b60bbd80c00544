"""What redis-py raises, and what this service makes of it."""

from __future__ import annotations

from redis.exceptions import RedisClusterException, RedisError

from app.core.errors import ServiceUnavailableError

REDIS_ERRORS = (RedisError, RedisClusterException, OSError)
"""Everything redis-py raises when a server is away or refuses. `RedisClusterException`, of a
cluster none of whose nodes answers, is no `RedisError`."""


class RedisUnavailableError(ServiceUnavailableError):
    """Redis can't be reached at the moment."""
