"""The dependency container: every module's providers and settings in one validated graph."""

from __future__ import annotations

from dishka import (
    AsyncContainer,
    Provider,
    Scope,
    ValidationSettings,
    make_async_container,
)
from dishka.exceptions import InvalidGraphError

from app.core.clock import Clock, SystemClock
from app.core.discovery import Registry
from app.core.errors import ConfigurationError
from app.core.ids import IdFactory, new_id
from app.core.settings import SettingsBundle

STRICT = ValidationSettings(nothing_overridden=True, implicit_override=True, nothing_decorated=True)


def build_container(
    registry: Registry, settings: SettingsBundle, *overrides: Provider
) -> AsyncContainer:
    """Build and validate the container. Nothing is constructed yet.

    Args:
        registry: the modules; they and each settings object can be injected by type.
        settings: read settings.
        overrides: providers whose factories are marked `override=True`: tests replace parts so.

    Raises:
        ConfigurationError: something requires what nothing provides, or two modules provide the
            same thing.
    """
    core = Provider(scope=Scope.APP)
    core.provide(_clock)
    core.provide(_ids)
    core.from_context(provides=Registry)
    core.from_context(provides=SettingsBundle)
    for item in settings:
        core.from_context(provides=type(item))
    providers = [provider for module in registry.modules for provider in module.providers]
    context: dict[object, object] = {type(item): item for item in settings}
    context |= {Registry: registry, SettingsBundle: settings}
    try:
        return make_async_container(
            core, *providers, *overrides, context=context, validation_settings=STRICT
        )
    except InvalidGraphError as error:
        raise ConfigurationError(str(error)) from error


def _clock() -> Clock:
    return SystemClock()


def _ids() -> IdFactory:
    return new_id
