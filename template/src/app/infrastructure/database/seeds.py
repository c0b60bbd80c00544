"""Seeds: rows an environment starts with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dishka import AsyncContainer

from app.core.container import WorkScope
from app.core.discovery import Registry
from app.core.settings import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """Rows to put in, contributed by a module: `Module(contributes=(Seed(...),))`.

    `run` gets a container scope of its own, which is committed when it returns; it tells how many
    rows it added. It must be idempotent: running it again adds nothing.
    """

    name: str
    run: Callable[[AsyncContainer], Awaitable[int]]
    environments: frozenset[Environment] = frozenset({Environment.DEVELOPMENT})
    """Where it applies."""


async def run_seeds(
    container: AsyncContainer, registry: Registry, environment: Environment
) -> dict[str, int]:
    """Run the seeds of an environment in module order.

    Returns:
        How many rows each of them added.
    """
    added: dict[str, int] = {}
    for seed in registry.contributions(Seed):
        if environment in seed.environments:
            async with WorkScope(container) as scope:
                added[seed.name] = await seed.run(scope)
    return added
