"""The storage module."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

from dishka import AsyncContainer, Provider, Scope

from app.core.health import HealthCheck, HealthReport
from app.core.module import Module
from app.core.settings import SettingsBundle
from app.infrastructure.storage.driver import Driver, DriverParts
from app.infrastructure.storage.large_values import LARGE_VALUES, LargeFiles
from app.infrastructure.storage.router import router
from app.infrastructure.storage.settings import StorageSettings, driver_settings
from app.infrastructure.storage.signing import UrlSigner
from app.infrastructure.storage.storage import FileStorage


def provide_driver(settings: StorageSettings, all_settings: SettingsBundle) -> Driver:
    """The driver `FILE_STORAGE_DRIVER` names; the other ones are not imported."""
    name = f"{__package__}.{settings.file_storage_driver}.driver"
    build = cast("Callable[[DriverParts], Driver]", importlib.import_module(name).build)
    return build(DriverParts(settings=settings, all_settings=all_settings))


def provide_signer(settings: StorageSettings) -> UrlSigner:
    """With the secrets of the settings."""
    return UrlSigner(settings.secrets, settings.file_storage_url)


provider = Provider(scope=Scope.APP)
provider.provide(provide_driver)
provider.provide(provide_signer)
provider.provide(FileStorage)
provider.provide(LargeFiles)


async def start(container: AsyncContainer) -> None:
    """Get ready to keep files."""
    await (await container.get(Driver)).start()


async def stop(container: AsyncContainer) -> None:
    """Let go of what keeps them."""
    await (await container.get(Driver)).stop()


async def check(container: AsyncContainer) -> HealthReport:
    """Ask for an answer. Raises when there is none."""
    await (await container.get(Driver)).check()
    settings = await container.get(StorageSettings)
    return HealthReport(details={"driver": settings.file_storage_driver})


module = Module(
    name="storage",
    summary="Files on local disk or in a cloud, with signed URLs",
    settings=(StorageSettings, *driver_settings()),
    providers=(provider,),
    routers=(router,),
    startup=start,
    shutdown=stop,
    # Not critical: what does without files goes on.
    health_checks=(HealthCheck(name="storage", check=check, critical=False),),
    contributes=(LARGE_VALUES,),
)
