"""The keys in Redis: `<prefix>:rabbitmq:<queue>:<what>`. `lua` says what lies there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of all queues of one service."""

    root: str
    """Begins every key, the colon included."""

    @classmethod
    def of(cls, prefix: str) -> Keys:
        """Return those of a service; with a hash tag, so that they lie together in a cluster."""
        return cls(f"{prefix}:rabbitmq:")

    @property
    def queues(self) -> str:
        """The set of the names of all queues."""
        return f"{self.root}queues"

    def base(self, queue: str) -> str:
        """Return what begins the keys of a queue."""
        return f"{self.root}{queue}:"

    def job(self, queue: str, job_id: str) -> str:
        """Return the key of a job's record."""
        return f"{self.base(queue)}j:{job_id}"

    def worker(self, worker: str) -> str:
        """Return the key that is there while a worker is heard of."""
        return f"{self.root}w:{worker}"
