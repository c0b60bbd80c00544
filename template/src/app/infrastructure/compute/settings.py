"""Settings of the compute pool."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Self

from pydantic import Field, model_validator

from app.core.settings import Bytes, Count, ModuleSettings, Seconds, Weakness

LARGEST = 16 * 1024 * 1024


class ComputeSettings(ModuleSettings):
    """How many worker processes the API starts, and how patient its callers are."""

    compute_min_workers: Count = Field(default=1, ge=0)
    """Worker processes that are always there; 0: the first call waits for one to start."""
    compute_max_workers: Count = Field(default=0, ge=0)
    """Worker processes at most; 0: as many as there are processors for this process. In a container
    with a CPU limit set it: the limit can't be seen from inside."""
    compute_idle_seconds: Seconds = Field(default=60.0, gt=0)
    """A process beyond the minimum ends after doing nothing for this long."""
    compute_nice: Count = Field(default=10, ge=0, le=19)
    """How far the processes step back for the API: 0 not at all, 19 most. See nice(2)."""
    compute_wait: Seconds = Field(default=60.0, gt=0)
    """How long a call may wait for its result; then the job is cancelled and the call fails."""
    compute_inline: bool = False
    """Run methods where they are called, without queue and processes: for tests."""
    compute_largest: Bytes = Field(default=LARGEST, ge=1)
    """The largest arguments or result, where a module keeps what is too large for a job."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.compute_min_workers > self.max_workers:
            message = (
                f"COMPUTE_MIN_WORKERS is {self.compute_min_workers}, more than the maximum of "
                f"{self.max_workers}: raise COMPUTE_MAX_WORKERS"
            )
            raise ValueError(message)
        return self

    @property
    def max_workers(self) -> int:
        """The maximum, in processes."""
        return self.compute_max_workers or max(processors(), self.compute_min_workers)

    def weaknesses(self) -> Iterable[Weakness]:
        """Refuse to compute in the event loop of a deployed API."""
        if self.compute_inline:
            problem = "computations would hold up every request of the process"
            yield Weakness("COMPUTE_INLINE", problem, "COMPUTE_INLINE=false")


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
