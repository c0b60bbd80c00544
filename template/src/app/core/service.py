"""The service, or a part of it, started for one piece of work: what commands do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from dishka import AsyncContainer

from app.core.container import build_container
from app.core.discovery import Registry
from app.core.lifecycle import Lifecycle
from app.core.settings import load_settings

ResultT = TypeVar("ResultT")
A_LOOK = {"APP_ROLE": "api", "APP_SIDE_WORK": "false"}
"""Variables of a process that does what it is asked for and nothing beside it."""


def part_of(registry: Registry, names: Collection[str]) -> Registry:
    """Return these modules and what they build on, in the same order.

    Raises:
        KeyError: there is no module of such a name.
    """
    requires = {module.name: module.requires for module in registry.modules}
    needed, pending = set[str](), list(names)
    while pending:
        name = pending.pop()
        needed.add(name)
        pending += requires[name]
    return Registry(tuple(module for module in registry.modules if module.name in needed))


def in_service(registry: Registry, use: Callable[[AsyncContainer], Awaitable[ResultT]]) -> ResultT:
    """Start these modules, let `use` do its work, and stop them again.

    They take no jobs, handle no events and relay nothing, whatever the environment says: somebody
    looks, or does one thing.

    Raises:
        ConfigurationError: settings that can't be used.
    """

    async def run() -> ResultT:
        settings = load_settings(registry.modules)
        container = build_container(registry, settings)
        async with Lifecycle(registry, settings, container):
            return await use(container)

    before = {name: os.environ.get(name) for name in A_LOOK}
    os.environ |= A_LOOK
    try:
        return asyncio.run(run())
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
