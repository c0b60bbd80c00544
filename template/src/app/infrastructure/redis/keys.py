"""Keys with the service's prefix: several services may share a server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeySpace:
    """Makes keys: `keys("lock", "report")` is `myservice:lock:report`."""

    prefix: str

    def __call__(self, *parts: str) -> str:
        """Return a key."""
        return ":".join((self.prefix, *parts))

    def tagged(self, tag: str, *parts: str) -> str:
        """Return a key of a group that one script or transaction uses together.

        A cluster keeps keys of one hash tag on one node (Redis Cluster specification, hash tags).
        """
        return ":".join((self.prefix, f"{{{tag}}}", *parts))
