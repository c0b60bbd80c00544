"""Start the modules in order, each awaited; stop them in reverse, whatever happens."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from dishka import AsyncContainer
from loguru import logger

from app.core.discovery import Registry
from app.core.errors import ConfigurationError
from app.core.module import Hook, Module
from app.core.settings import AppSettings, SettingsBundle, require_strong


class Lifecycle:
    """The running modules of one process. Use it as `async with Lifecycle(...)`."""

    def __init__(
        self, registry: Registry, settings: SettingsBundle, container: AsyncContainer
    ) -> None:
        """Hold what is to be started."""
        self.registry = registry
        self.settings = settings
        self.container = container
        self._started: list[Module] = []
        self._ready: list[Module] = []
        self._timeouts = settings.get(AppSettings)

    async def start(self) -> None:
        """Start every module in order; then, again in order, let them take work.

        When one fails, those already started are stopped again before the error is raised.

        Raises:
            ConfigurationError: weak settings in a deployed environment, or a module that took
                longer than `APP_STARTUP_TIMEOUT`.
        """
        require_strong(self.settings)
        try:
            for module in self.registry.modules:
                # Listed before it starts: a shutdown step must cope with a start cut half-way.
                self._started.append(module)
                await self._step(module, module.startup)
            for module in self.registry.modules:
                self._ready.append(module)
                await self._step(module, module.ready)
        except BaseException as error:
            for stop_error in await self._stop_all():
                error.add_note(f"while stopping again: {stop_error!r}")
            raise

    async def _step(self, module: Module, hook: Hook | None) -> None:
        if hook is None:
            return
        limit = self._timeouts.app_startup_timeout
        deadline = asyncio.timeout(limit)
        try:
            async with deadline:
                await hook(self.container)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            message = (
                f"Module {module.name!r} did not start within {limit:g} s: see what it waits for, "
                "or raise APP_STARTUP_TIMEOUT"
            )
            raise ConfigurationError(message) from error

    async def stop(self) -> None:
        """Let them take no more work, stop every one in reverse and close the container.

        One that fails or takes longer than `APP_SHUTDOWN_TIMEOUT` does not keep the others running.

        Raises:
            ExceptionGroup: what went wrong, after all were tried.
        """
        errors = await self._stop_all()
        if errors:
            message = "while stopping the service"
            raise ExceptionGroup(message, errors)

    async def _stop_all(self) -> list[Exception]:
        errors: list[Exception] = []
        while self._ready:
            module = self._ready.pop()
            await self._stop_one(module, module.drain, errors)
        while self._started:
            module = self._started.pop()
            await self._stop_one(module, module.shutdown, errors)
        try:
            async with asyncio.timeout(self._timeouts.app_shutdown_timeout):
                await self.container.close()
        except Exception as error:  # noqa: BLE001 - reported with the others
            logger.opt(exception=error).error("The container failed to close")
            errors.append(error)
        return errors

    async def _stop_one(self, module: Module, hook: Hook | None, errors: list[Exception]) -> None:
        if hook is None:
            return
        try:
            async with asyncio.timeout(self._timeouts.app_shutdown_timeout):
                await hook(self.container)
        except Exception as error:  # noqa: BLE001 - the others must still be stopped
            logger.opt(exception=error).error("Module {} failed to stop", module.name)
            errors.append(error)

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()
