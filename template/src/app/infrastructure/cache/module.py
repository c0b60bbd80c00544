"""The cache module."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from dishka import AsyncContainer, Provider, Scope

from app.core.discovery import Registry
from app.core.module import Module
from app.core.settings import SettingsBundle
from app.core.work import WorkPort
from app.infrastructure.cache.caching import Cache
from app.infrastructure.cache.health import CACHE_CHECK
from app.infrastructure.cache.link import Link
from app.infrastructure.cache.names import Names
from app.infrastructure.cache.runtime import put_down, take_away
from app.infrastructure.cache.scoped import Scopes
from app.infrastructure.cache.settings import CacheSettings
from app.infrastructure.cache.store import Store
from app.infrastructure.cache.tokens import TokenStore
from app.infrastructure.cache.upkeep import Upkeep
from app.infrastructure.redis import RedisConnector


async def provide_link(
    connector: RedisConnector, settings: CacheSettings
) -> AsyncGenerator[Link, None]:
    """With connections of its own: it waits less than others do."""
    timeout = settings.cache_timeout
    redis = connector.connect(socket_timeout=timeout, socket_connect_timeout=timeout)
    link = Link(redis, connector.multiplex(timeout), timeout, settings.cache_retry)
    yield link
    await link.close()


def provide_cache(  # noqa: PLR0913, PLR0917 - what it is made of
    store: Store,
    names: Names,
    settings: CacheSettings,
    every: SettingsBundle,
    registry: Registry,
    container: AsyncContainer,
) -> Cache:
    """One per process; it asks the modules that have units of work."""
    works = registry.contributions(WorkPort)
    lag = settings.cache_replica_lag if any(port.may_lag(every) for port in works) else 0.0
    return Cache(store, names, settings, works, Scopes(container, registry), lag=lag)


def provide_upkeep(store: Store, cache: Cache, settings: CacheSettings) -> Upkeep:
    """Counts what the cache counts."""
    return Upkeep(store, cache.statistics, settings)


provider = Provider(scope=Scope.APP)
provider.provide(provide_link)
provider.provide(Names)
provider.provide(Store)
provider.provide(provide_cache)
provider.provide(provide_upkeep)
provider.provide(TokenStore)


async def start(container: AsyncContainer) -> None:
    """Let decorated methods find the cache."""
    put_down(await container.get(Cache))
    (await container.get(Upkeep)).start()


async def stop(container: AsyncContainer) -> None:
    """End what runs in the background."""
    cache = await container.get(Cache)
    take_away(cache)
    await cache.close()
    await (await container.get(Upkeep)).stop()


module = Module(
    name="cache",
    summary="What was computed once is not computed again: @cache, get_or_set; tokens",
    requires=("redis",),
    settings=CacheSettings,
    providers=(provider,),
    startup=start,
    shutdown=stop,
    health_checks=(CACHE_CHECK,),
)
