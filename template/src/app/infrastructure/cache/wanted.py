"""What is asked of the cache: a value by its key, how it is kept, and how it is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from app.infrastructure.cache.codec import Codec

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping(Generic[ValueT]):
    """How values are kept."""

    codec: Codec[ValueT]
    ttl: float
    """Seconds."""
    stale: float = 0.0
    """Seconds after `ttl` in which the old value is given while a new one is computed."""
    negative_ttl: float | None = None
    """Seconds "there is none" is kept: None, or a `NotFoundError`. None: it is not kept."""
    jitter: float | None = None
    """Share by which lives are shortened at random; None: `CACHE_JITTER`."""
    title: str = ""
    """Under which calls are counted; empty: the first part of the key."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            ValueError: a time that is not positive, or a share that is none.
        """
        negative = self.negative_ttl
        if self.ttl <= 0 or self.stale < 0 or (negative is not None and negative <= 0):
            message = "ttl and negative_ttl are seconds above 0, stale is 0 or more"
            raise ValueError(message)
        if self.jitter is not None and not 0 <= self.jitter < 1:
            message = f"jitter is a share from 0 to below 1, not {self.jitter}"
            raise ValueError(message)

    @property
    def life(self) -> float:
        """The longest time an entry may be kept, in seconds."""
        return max(self.ttl, self.negative_ttl or 0) + self.stale


@dataclass(frozen=True, slots=True)
class Wanted(Generic[ValueT]):
    """One call."""

    key: str
    tags: tuple[str, ...]
    how: Keeping[ValueT]
    make: Callable[[], Awaitable[ValueT]]
    """Computes it, for the caller."""
    again: Callable[[], Awaitable[ValueT]] | None = None
    """Computes it for later, when the caller is gone; None: that can't be done."""

    @property
    def title(self) -> str:
        """Under which it is counted."""
        return self.how.title or self.key.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call, for all who wait for it."""

    kind: str
    text: str = ""
    value: Any = None
    """What could not be written as text."""
    is_shared: bool = True
    """Others may have it too."""


VALUE, MISSING, UNWRITTEN = "v", "n", "u"
"""Kinds: a value as JSON, "there is none" as JSON, and what is handed on as it is."""
