"""How computing is: for `/health`, and for `app compute status`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dishka import AsyncContainer

from app.core.health import HealthReport, HealthStatus
from app.infrastructure.compute.board import Board, PoolReport
from app.infrastructure.compute.catalog import ComputeMethods
from app.infrastructure.compute.decorator import QUEUE
from app.infrastructure.compute.pool import Pool
from app.infrastructure.compute.settings import ComputeSettings
from app.infrastructure.queue import JobQueue, JobState


@dataclass(frozen=True, slots=True)
class Overview:
    """Pools, jobs and methods at a glance."""

    pools: Sequence[PoolReport]
    """Of all machines."""
    pending: int
    """Jobs that wait in the queue of the pools."""
    active: int
    handlers: Sequence[str]
    """The methods, by their names."""

    @property
    def workers(self) -> dict[str, int]:
        """How many processes are in which state, over all pools."""
        states = ("running", "idle", "starting", "leaving")
        return {state: sum(getattr(pool, state) for pool in self.pools) for state in states}


async def overview(container: AsyncContainer) -> Overview:
    """Look at everything.

    Raises:
        QueueUnavailableError, RedisError: where it can't be asked.
    """
    counts = await (await container.get(JobQueue)).engine.counts(QUEUE)
    own = (await container.get(Pool)).report()
    pools = {pool.name: pool for pool in await (await container.get(Board)).read()}
    if own:
        pools[own.name] = own  # newer than what is on the board
    return Overview(
        pools=[pools[name] for name in sorted(pools)],
        pending=counts.get(JobState.WAITING, 0),
        active=counts.get(JobState.ACTIVE, 0),
        handlers=[method.name for method in await container.get(ComputeMethods)],
    )


async def check(container: AsyncContainer) -> HealthReport:
    """Complain when the processes of a pool die one after the other."""
    inline = (await container.get(ComputeSettings)).compute_inline
    found = await overview(container)
    ill = any(pool.failing for pool in found.pools)
    details = {
        "inline": inline,
        "pools": len(found.pools),
        "workers": found.workers,
        "restarts": sum(pool.restarts for pool in found.pools),
        "pending": found.pending,
        "active": found.active,
        "handlers": list(found.handlers),
    }
    return HealthReport(HealthStatus.DEGRADED if ill else HealthStatus.UP, details)
