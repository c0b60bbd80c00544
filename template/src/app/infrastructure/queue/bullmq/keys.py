"""BullMQ's keys: `<prefix>:<queue>:<what>`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """The keys of one queue."""

    base: str
    """Begins every key, the colon included."""

    @classmethod
    def of(cls, prefix: str, queue: str) -> QueueKeys:
        """Return those of a queue."""
        return cls(f"{prefix}:{queue}:")

    def __call__(self, *kinds: str) -> list[str]:
        """Return the keys of some kinds, in that order."""
        return [self.base + kind for kind in kinds]

    def job(self, job_id: str) -> str:
        """Return the key of a job."""
        return self.base + job_id
