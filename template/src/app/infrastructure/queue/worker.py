"""The part of a process that does jobs: one consumer per queue, one executor for all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from loguru import logger

from app.core.discovery import Registry
from app.core.errors import ConfigurationError
from app.infrastructure.queue.engine import Consumer, QueueLimits
from app.infrastructure.queue.executor import Executor
from app.infrastructure.queue.handlers import HandlerRegistry
from app.infrastructure.queue.options import check_queue_name
from app.infrastructure.queue.queue import JobQueue
from app.infrastructure.queue.schedules import Schedule
from app.infrastructure.queue.settings import QueueSettings


class Worker:
    """Takes jobs from the queues until it is stopped."""

    def __init__(
        self,
        executor: Executor,
        jobs: JobQueue,
        handlers: HandlerRegistry,
        registry: Registry,
        settings: QueueSettings,
    ) -> None:
        """Prepare; nothing is taken yet."""
        self._engine = jobs.engine
        self._executor = executor
        self._jobs = jobs
        self._handlers = handlers
        self._registry = registry
        self._settings = settings
        self._consumers: dict[str, Consumer] = {}

    @property
    def running(self) -> list[str]:
        """The ids of the jobs it is on."""
        return self._executor.running

    @property
    def is_started(self) -> bool:
        """Whether it takes jobs."""
        return bool(self._consumers)

    def queues(self) -> list[str]:
        """Return the queues it takes jobs from.

        Raises:
            ConfigurationError: `WORKER_QUEUES` names none that could exist.
        """
        named = [name.strip() for name in self._settings.worker_queues.split(",") if name.strip()]
        try:
            for name in named:
                check_queue_name(name)
        except ValueError as error:
            message = f"WORKER_QUEUES: {error}"
            raise ConfigurationError(message) from error
        return named or self._handlers.queues() or ["default"]

    async def start(
        self, queues: Sequence[str] | None = None, concurrency: int | None = None
    ) -> None:
        """Set limits and schedules the modules declare, then begin to take jobs.

        Args:
            queues: their names; None: `queues()`.
            concurrency: jobs at once from each of them; None: as `WORKER_CONCURRENCY`.

        Raises:
            ConfigurationError: see `queues`.
            QueueUnavailableError: the broker can't be reached.
        """
        queues = self.queues() if queues is None else queues
        concurrency = concurrency or self._settings.worker_concurrency
        for limits in self._registry.contributions(QueueLimits):
            await self._engine.limit(limits)
        for schedule in self._registry.contributions(Schedule):
            await self._jobs.schedule(schedule)
        for queue in queues:
            consumer = self._engine.consume(queue, concurrency, self._executor)
            self._consumers[queue] = consumer
            await consumer.start()
        logger.info("Worker takes jobs from {}", ", ".join(queues))

    async def stop(self, grace: float) -> list[str]:
        """Take no more jobs, let running ones end, give back what is left after `grace` seconds.

        Returns:
            The ids of the jobs given back.
        """
        consumers, self._consumers = self._consumers, {}
        if not consumers:
            return []
        logger.info("Worker stops: {} jobs are running", len(self.running))
        stopped = await asyncio.gather(
            *(consumer.stop(grace) for consumer in consumers.values()), return_exceptions=True
        )
        left = list(_flattened(stopped))
        if left:
            logger.warning("Given back unfinished: {}", ", ".join(left))
        return left

    def silent_queues(self) -> list[str]:
        """Return the queues whose consumer has not heard of the broker for a while."""
        return sorted(name for name, part in self._consumers.items() if not part.is_alive())


def _flattened(stopped: Iterable[Sequence[str] | BaseException]) -> Iterable[str]:
    for outcome in stopped:
        if isinstance(outcome, BaseException):
            logger.opt(exception=outcome).error("A consumer failed to stop")
        else:
            yield from outcome
