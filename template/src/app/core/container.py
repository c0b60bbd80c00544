"""The dependency container: every module's providers and settings in one validated graph."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from dishka import (
    AsyncContainer,
    Provider,
    Scope,
    ValidationSettings,
    make_async_container,
)
from dishka.exceptions import ExitError, InvalidGraphError
from loguru import logger

from app.core.clock import Clock, SystemClock
from app.core.discovery import Registry
from app.core.errors import ConfigurationError
from app.core.events import Events
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
    core.provide(Events)
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


class WorkScope:
    """A scope for one piece of work, such as a job: it ends with the error of the work.

    dishka raises an `ExitError` of what finalizers raise, in place of what the work has raised,
    even its cancellation. Here that comes first; a lone error of a finalizer, such as that of a
    commit, shows as itself; and a finalizer that is cancelled keeps no other from its work.
    """

    __slots__ = ("_scope",)

    def __init__(self, container: AsyncContainer, context: dict[Any, Any] | None = None) -> None:
        """Prepare a scope of `container`, with what `context` holds by type."""
        self._scope = container(context)

    async def __aenter__(self) -> AsyncContainer:
        """Open it."""
        return await self._scope.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        try:
            await self._scope.__aexit__(kind, error, trace)
        except ExitError as ended:
            if error is not None:
                logger.opt(exception=ended).warning("What failed could not be cleaned up either")
                return
            found = ended.exceptions[0] if len(ended.exceptions) == 1 else ended
        except BaseException as ended:
            # dishka leaves those as they are that it has not come to.
            await self.__aexit__(type(ended), ended, ended.__traceback__)
            raise
        else:
            return
        try:
            raise found  # out here it keeps its own cause, the driver's error
        finally:
            del found  # or it and this frame would hold each other


def _clock() -> Clock:
    return SystemClock()


def _ids() -> IdFactory:
    return new_id
