"""cashews, with its JSON pickler and its lock."""

from __future__ import annotations

from typing import Any

from cashews import Cache

from benchmarks.cache_sides.common import Asked, Counter, Row, main


class Rows:
    """A cached function."""

    def __init__(self, cache: Any, prefix: str, counter: Counter) -> None:
        """Decorate."""

        @cache(ttl="10m", key=prefix + ":{number}", lock=True)
        async def get(number: int) -> Row:
            del number
            return await counter.compute()

        self.get = get


async def start(asked: Asked, counter: Counter) -> Rows:
    """Connect."""
    cache = Cache()
    cache.setup(f"redis://127.0.0.1:{asked.port}", pickle_type="json", client_side=False)
    return Rows(cache, asked.prefix, counter)


if __name__ == "__main__":
    main(start)
