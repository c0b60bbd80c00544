"""The module of deferred calls."""

from __future__ import annotations

from dishka import AsyncContainer, Provider, Scope

from app.core.deferring import CallableLater
from app.core.discovery import Registry
from app.core.errors import ConfigurationError
from app.core.module import Module
from app.infrastructure.deferred.catalog import Catalog
from app.infrastructure.deferred.ports import OnceOnly
from app.infrastructure.deferred.replay import OnBehalfOf, Replayer, handlers
from app.infrastructure.deferred.settings import DeferredSettings
from app.infrastructure.deferred.signing import Signer
from app.infrastructure.deferred.tasks import Dispatcher, QueueDispatcher, Tasks
from app.infrastructure.queue import HandlerSource


def provide_catalog(registry: Registry) -> Catalog:
    """What the modules list."""
    return Catalog(registry.contributions(CallableLater))


def provide_signer(settings: DeferredSettings) -> Signer:
    """With the keys of the settings."""
    return Signer(settings.keys)


def provide_replayer(registry: Registry, signer: Signer) -> Replayer:
    """Asks what the modules contribute."""
    once = registry.contributions(OnceOnly)
    return Replayer(signer, registry.contributions(OnBehalfOf), once[0] if once else None)


provider = Provider(scope=Scope.APP)
provider.provide(provide_catalog)
provider.provide(provide_signer)
provider.provide(provide_replayer)
provider.provide(QueueDispatcher, provides=Dispatcher)
provider.provide(Tasks)


async def start(container: AsyncContainer) -> None:
    """Compare what is listed with what is provided.

    Raises:
        ConfigurationError: a class is listed that no module provides.
    """
    catalog = await container.get(Catalog)
    registry = await container.get(Registry)
    provided = {
        factory.provides.type_hint
        for module in registry.modules
        for found in module.providers
        for factory in found.factories
    }
    for item in catalog:
        if item.provider not in provided:
            message = (
                f"{item.provider.__name__} is listed as deferrable, but no module provides it: "
                "add it to the provider of its module"
            )
            raise ConfigurationError(message)


module = Module(
    name="deferred",
    summary="run_later: write a call here, have it made in a worker",
    requires=("queue",),
    settings=DeferredSettings,
    providers=(provider,),
    startup=start,
    contributes=(HandlerSource(handlers),),
)
