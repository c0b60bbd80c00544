"""Processes of a service on each transport, with handlers that note what they got."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol
from uuid import UUID

import pytest
from dishka import AsyncContainer, Provider

from app.core.container import build_container
from app.core.discovery import Registry, discover
from app.core.events import Event, Events
from app.core.folders import APP_ROOT
from app.core.lifecycle import Lifecycle
from app.core.module import Module
from app.core.settings import load_settings
from app.infrastructure.event_bus import DeadEvent, EventBus, TransportChoice

PATIENCE = 60.0
"""Seconds for what should take a moment; a loaded machine may need more than that."""
CHOICES = sorted(choice.name for choice in discover().contributions(TransportChoice))


class Placed(Event):
    name = "order.placed"

    number: int


class Cancelled(Event):
    name = "order.item.cancelled"

    number: int
    order_id: UUID | None = None


class PlacedLater(Event):
    """As a newer release publishes it."""

    name = "order.placed"
    version: ClassVar[int] = 2

    number: int


@dataclass
class Process:
    """A started service. Several in one test are as several processes: they share the server."""

    container: AsyncContainer
    lifecycle: Lifecycle
    bus: EventBus
    events: Events

    async def stop(self) -> None:
        await self.lifecycle.stop()


class Start(Protocol):
    """Starts one more process, with handlers, and providers of its own."""

    async def __call__(
        self, *contributes: object, providers: tuple[Provider, ...] = ()
    ) -> Process: ...


@pytest.fixture(params=CHOICES)
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each transport of this service."""
    name = str(request.param)
    if (found := testing(name)) and (reason := found.missing()):
        pytest.skip(reason)
    monkeypatch.setenv("EVENT_BUS_TRANSPORT", name)
    monkeypatch.setenv("EVENT_BUS_CLAIM_IDLE", "1")
    return name


@pytest.fixture
def is_shared(transport: str) -> bool:
    """Whether processes share what the transport carries."""
    return transport != "local"


def testing(transport: str) -> Any:
    """Return what a transport says about tests, in the `testing.py` of its module, if it does."""
    name = module_of(transport)
    if not (APP_ROOT / "infrastructure" / name / "testing.py").exists():
        return None
    return importlib.import_module(f"app.infrastructure.{name}.testing")


def module_of(transport: str) -> str:
    """Return the name of the module that contributes a transport."""
    return next(
        module.name
        for module in discover().modules
        for item in module.contributes
        if isinstance(item, TransportChoice) and item.name == transport
    )


def needed(transport: str) -> tuple[Module, ...]:
    """Return the modules a transport needs, and no others: they start fast."""
    modules = {module.name: module for module in discover().modules}
    names = {"event_bus", "logger", module_of(transport)}
    while more := {need for name in names for need in modules[name].requires} - names:
        names |= more
    return tuple(module for module in discover().modules if module.name in names)


@pytest.fixture
def shared(request: pytest.FixtureRequest, transport: str, anyio_backend: str) -> list[Provider]:
    """What replaces parts of the modules a transport needs."""
    del anyio_backend  # lets async fixtures run
    plugins = request.config.pluginmanager
    found = []
    for module in needed(transport):
        plugin = plugins.get_plugin(f"app.infrastructure.{module.name}.testing")
        if hasattr(plugin, f"override_{module.name}"):
            found.append(request.getfixturevalue(f"override_{module.name}"))
    return found


@pytest.fixture
def prefix(request: pytest.FixtureRequest, shared: list[Provider]) -> str:
    """What the test's own keys and queues begin with."""
    return str(request.getfixturevalue("keys").prefix) if shared else ""


@pytest.fixture
async def start(transport: str, shared: list[Provider], prefix: str) -> AsyncIterator[Start]:
    """Start processes; they are stopped at the end, and what they left in the server deleted."""
    modules = needed(transport)
    async with AsyncExitStack() as stack:

        async def start_one(*contributes: object, providers: tuple[Provider, ...] = ()) -> Process:
            probe = Module(
                name="probe", summary="test", contributes=contributes, providers=providers
            )
            registry = Registry((*modules, probe))
            settings = load_settings(registry.modules)
            container = build_container(registry, settings, *shared)
            lifecycle = Lifecycle(registry, settings, container)
            await lifecycle.start()
            stack.push_async_callback(lifecycle.stop)
            bus, events = await container.get(EventBus), await container.get(Events)
            return Process(container, lifecycle, bus, events)

        yield start_one
    if found := testing(transport):
        await found.clean(prefix)


async def until_dead(process: Process, count: int) -> Sequence[DeadEvent]:
    """Wait until so many events are dead; return them.

    Raises:
        TimeoutError: they are not, for long.
    """
    async with asyncio.timeout(PATIENCE):
        while len(found := await process.bus.transport.dead(100)) < count:  # noqa: ASYNC110 - of a broker
            await asyncio.sleep(0.02)
    return found


async def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: it does not, for long.
    """
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is waited for is in another task
            await asyncio.sleep(0.01)
