"""Redis: one client, keys with the service's prefix, locks and pub/sub."""

from app.infrastructure.redis.errors import REDIS_ERRORS, RedisUnavailableError
from app.infrastructure.redis.keys import KeySpace
from app.infrastructure.redis.lock import HeldLock, LockLostError, LockNotAcquiredError, Locks
from app.infrastructure.redis.multiplexer import Multiplexer
from app.infrastructure.redis.pubsub import Message, PubSub
from app.infrastructure.redis.server import RedisConnector

__all__ = [
    "REDIS_ERRORS",
    "HeldLock",
    "KeySpace",
    "LockLostError",
    "LockNotAcquiredError",
    "Locks",
    "Message",
    "Multiplexer",
    "PubSub",
    "RedisConnector",
    "RedisUnavailableError",
]
