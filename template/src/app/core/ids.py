"""Identifiers as a dependency."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from uuid_utils.compat import uuid7


class IdFactory(Protocol):
    """Makes identifiers."""

    def __call__(self) -> UUID:
        """Return a new identifier, different from every other."""
        ...


def new_id() -> UUID:
    """Return a UUIDv7 (RFC 9562 §5.7): it sorts by time, so index pages stay warm."""
    return uuid7()
