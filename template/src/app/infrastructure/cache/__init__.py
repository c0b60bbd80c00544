"""The cache: `@cache` on a method, `Cache` for the rest, and `TokenStore`."""

from app.infrastructure.cache.caching import Cache
from app.infrastructure.cache.codec import Codec, UncacheableError
from app.infrastructure.cache.decorator import cache
from app.infrastructure.cache.names import cache_key
from app.infrastructure.cache.runtime import current_cache, use_cache
from app.infrastructure.cache.tokens import StoredToken, TokenStore

__all__ = [
    "Cache",
    "Codec",
    "StoredToken",
    "TokenStore",
    "UncacheableError",
    "cache",
    "cache_key",
    "current_cache",
    "use_cache",
]
