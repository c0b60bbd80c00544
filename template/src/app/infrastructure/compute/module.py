"""The module of `@compute`."""

from __future__ import annotations

from dishka import AsyncContainer, Provider, Scope

from app.core.discovery import Registry
from app.core.errors import ConfigurationError
from app.core.health import HealthCheck
from app.core.large_values import LargeValues
from app.core.module import Module
from app.infrastructure.compute import runtime
from app.infrastructure.compute.board import Board
from app.infrastructure.compute.caller import Caller
from app.infrastructure.compute.catalog import ComputeMethods, find_methods
from app.infrastructure.compute.health import check
from app.infrastructure.compute.pool import COMMAND, Pool, PoolCommand
from app.infrastructure.compute.settings import ComputeSettings
from app.infrastructure.compute.values import Values
from app.infrastructure.compute.worker import ComputeWorker, Tally, handlers
from app.infrastructure.queue import HandlerSource
from app.infrastructure.queue.settings import AppRole, QueueSettings


def provide_methods(registry: Registry) -> ComputeMethods:
    """Those of the classes the modules provide."""
    return find_methods(registry)


def provide_values(
    container: AsyncContainer, settings: ComputeSettings, registry: Registry
) -> Values:
    """Large ones are kept by the module that contributes `LargeValues`, if one does."""
    stores = registry.contributions(LargeValues)
    if len(stores) > 1:
        message = "two modules contribute `LargeValues`: keep one"
        raise ConfigurationError(message)
    return Values(container, settings, stores[0] if stores else None)


def provide_command() -> PoolCommand:
    """A worker process of the queue."""
    return COMMAND


provider = Provider(scope=Scope.APP)
provider.provide(provide_methods)
provider.provide(provide_values)
provider.provide(provide_command)
provider.provide(Board)
provider.provide(Caller)
provider.provide(ComputeWorker)
provider.provide(Pool)
provider.provide(Tally)


async def start(container: AsyncContainer) -> None:
    """Let calls find this service; in an API process, begin to keep a pool.

    Raises:
        ConfigurationError: a method with `@compute` whose arguments or result can't travel.
    """
    methods = await container.get(ComputeMethods)
    caller = await container.get(Caller)
    runtime.enter(caller)
    tally = await container.get(Tally)
    tally.tell()
    inline = (await container.get(ComputeSettings)).compute_inline
    role = (await container.get(QueueSettings)).app_role
    if methods and not inline and role is not AppRole.WORKER:
        pool = await container.get(Pool)
        caller.on_publish = pool.wake
        pool.start()


async def stop(container: AsyncContainer) -> None:
    """End the pool, and be found no more."""
    caller = await container.get(Caller)
    await caller.close()
    await (await container.get(Pool)).stop()
    runtime.leave(caller)


module = Module(
    name="compute",
    summary="@compute: a method that runs in a pool of worker processes",
    requires=("redis", "queue", "deferred", "health"),
    settings=ComputeSettings,
    providers=(provider,),
    startup=start,
    shutdown=stop,
    health_checks=(HealthCheck(name="compute", check=check, critical=False),),
    contributes=(HandlerSource(handlers),),
)
