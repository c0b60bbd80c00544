"""Read replicas: which one serves the next reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from loguru import logger
from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass
class Replica:
    """One replica and what is known of it."""

    engine: AsyncEngine
    retry_at: float | None = None
    """When to try again, in the clock's monotonic seconds; None while it works."""

    @property
    def name(self) -> str:
        """Host and port, without credentials."""
        url = self.engine.url
        return f"{url.host}:{url.port}" if url.host else str(url.database)


class ReplicaSet:
    """The replicas of the primary, used in turn; one that fails is left alone for a while."""

    def __init__(
        self, engines: Sequence[AsyncEngine], retry: float, monotonic: Callable[[], float]
    ) -> None:
        """Take the engines; `retry` is in seconds."""
        self.replicas = [Replica(engine) for engine in engines]
        self._retry = retry
        self._monotonic = monotonic
        self._turn = 0

    def candidates(self) -> Iterator[Replica]:
        """Yield the replicas worth trying, the next in turn first."""
        self._turn += 1
        count = len(self.replicas)
        now = self._monotonic()
        for offset in range(count):
            replica = self.replicas[(self._turn + offset) % count]
            if replica.retry_at is None or replica.retry_at <= now:
                yield replica

    def failed(self, replica: Replica, error: Exception) -> None:
        """Leave a replica alone for a while."""
        if replica.retry_at is None:
            logger.warning("Replica {} is skipped: {}", replica.name, type(error).__name__)
        replica.retry_at = self._monotonic() + self._retry

    def works(self, replica: Replica) -> None:
        """Note that a replica answers."""
        if replica.retry_at is not None:
            logger.info("Replica {} is used again", replica.name)
        replica.retry_at = None

    async def dispose(self) -> None:
        """Close all connections."""
        for replica in self.replicas:
            await replica.engine.dispose()
