"""This cache, by its decorator, in a started service of two modules."""

from __future__ import annotations

import os

from app.core.container import build_container
from app.core.discovery import Registry
from app.core.lifecycle import Lifecycle
from app.core.settings import load_settings
from app.infrastructure.cache import cache
from app.infrastructure.cache.module import module
from app.infrastructure.redis.module import module as redis
from loguru import logger

from benchmarks.cache_sides.common import Asked, Counter, Row, main


class Rows:
    """A service."""

    def __init__(self, counter: Counter) -> None:
        """Compute by `counter`."""
        self._counter = counter

    @cache(ttl=600, key="row:{number}")
    async def get(self, number: int) -> Row:
        """Return a row."""
        del number
        return await self._counter.compute()


async def start(asked: Asked, counter: Counter) -> Rows:
    """Start the modules."""
    os.environ |= {"REDIS_URL": f"redis://127.0.0.1:{asked.port}", "APP_NAME": asked.prefix}
    logger.remove()
    registry = Registry((redis, module))
    settings = load_settings(registry.modules)
    await Lifecycle(registry, settings, build_container(registry, settings)).start()
    return Rows(counter)


if __name__ == "__main__":
    main(start)
