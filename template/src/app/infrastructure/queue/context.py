"""What a handler may know about the attempt it is part of, and what it may say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from app.infrastructure.queue.jobs import Job

if TYPE_CHECKING:
    from loguru import Logger

    from app.infrastructure.queue.engine import DeliveryHooks


@dataclass(slots=True, kw_only=True)
class JobContext:
    """Annotate a handler's parameter with it to get the one of the running attempt."""

    job: Job
    attempt: int
    """Counted from 1."""
    deadline: datetime | None
    """When the attempt is cut off; None: never."""
    logger: Logger
    """Bound to the job: its lines carry its id, name and attempt."""
    hooks: DeliveryHooks | None = None
    report: Callable[[Any], None] | None = None
    is_cancelled: bool = False
    """Somebody has cancelled the job: code in a thread should look now and then, and return. An
    async handler is interrupted by `CancelledError` at its next `await`."""

    @property
    def attempts_left(self) -> int:
        """How many attempts may follow this one."""
        return max(self.job.options.attempts - self.attempt, 0)

    async def progress(self, value: Any) -> None:
        """Keep how far the job is: a number, a text, or anything JSON can hold."""
        if self.hooks:
            await self.hooks.progress(self.job.id, value)
        if self.report:
            self.report(value)

    async def children_results(self) -> Mapping[str, Any]:
        """Return the results of the jobs it depends on, by id."""
        return await self.hooks.children_results(self.job.id) if self.hooks else {}
