"""aiocache, with its JSON serializer."""

from __future__ import annotations

from aiocache import RedisCache, cached
from aiocache.serializers import JsonSerializer

from benchmarks.cache_sides.common import Asked, Counter, Row, main


class Rows:
    """A cached function."""

    def __init__(self, asked: Asked, counter: Counter) -> None:
        """Decorate."""

        @cached(
            ttl=600,
            cache=RedisCache,
            endpoint="127.0.0.1",
            port=asked.port,
            serializer=JsonSerializer(),
            key_builder=lambda _, number: f"{asked.prefix}:{number}",
        )
        async def get(number: int) -> Row:
            del number
            return await counter.compute()

        self.get = get


async def start(asked: Asked, counter: Counter) -> Rows:
    """Connect."""
    return Rows(asked, counter)


if __name__ == "__main__":
    main(start)
