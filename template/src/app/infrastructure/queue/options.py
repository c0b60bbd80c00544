"""What a caller may ask of one job, and the defaults a handler declares."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from enum import StrEnum
from typing import TypedDict

from app.infrastructure.queue.errors import InvalidJobError

PRIORITIES = range(4)
"""0 goes first and is the default; 3 goes last."""
LONGEST_KEY = 200
"""Characters of a deduplication key."""
SHORTEST = timedelta(milliseconds=1)
"""Engines count in milliseconds."""


class BackoffKind(StrEnum):
    """How the pause before the next attempt grows."""

    FIXED = "fixed"
    """The same pause each time."""
    EXPONENTIAL = "exponential"
    """Twice the pause before it, up to `longest`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The pause before an attempt is repeated."""

    kind: BackoffKind = BackoffKind.EXPONENTIAL
    first: timedelta = timedelta(seconds=1)
    longest: timedelta = timedelta(minutes=10)
    jitter: float = 0.5
    """The share of the pause that is left to chance: 0 none, 1 all of it. It keeps jobs that
    failed together from coming back together."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            InvalidJobError: a negative pause, or a jitter outside 0 to 1.
        """
        if self.first < timedelta() or self.longest < timedelta():
            message = "a backoff can't be negative"
            raise InvalidJobError(message)
        if not 0 <= self.jitter <= 1:
            message = f"the jitter of a backoff lies between 0 and 1, not at {self.jitter}"
            raise InvalidJobError(message)

    def pause(self, failures: int) -> timedelta:
        """Return the pause after that many failed attempts (1 or more)."""
        pause = self.first
        if self.kind is BackoffKind.EXPONENTIAL:
            seconds = self.first.total_seconds() * 2.0 ** min(failures - 1, 60)
            pause = timedelta(seconds=min(self.longest.total_seconds(), seconds))
        # Spread load, not secrets.
        return pause * (1 - self.jitter * random.random())  # noqa: S311


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduplication:
    """While one job of this key is there, another is not added: its handle is returned instead."""

    key: str
    window: timedelta | None = None
    """How long the key holds, counted from the first job; None: until that job has ended."""

    def __post_init__(self) -> None:
        """Refuse an unusable key or window.

        Raises:
            InvalidJobError: the key is empty or too long, or the window too short.
        """
        if not 0 < len(self.key) <= LONGEST_KEY:
            message = f"a deduplication key has 1 to {LONGEST_KEY} characters"
            raise InvalidJobError(message)
        if self.window is not None and self.window < SHORTEST:
            message = "the window of a deduplication is at least a millisecond, or None"
            raise InvalidJobError(message)


class OptionChanges(TypedDict, total=False):
    """The options by keyword, as `publish` and `@job` take them."""

    queue: str
    delay: timedelta
    priority: int
    attempts: int
    backoff: Backoff
    timeout: timedelta | None
    expires_in: timedelta | None
    deduplication: Deduplication | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """How a job is to be treated."""

    queue: str = "default"
    delay: timedelta = timedelta()
    """Not started before this time has passed."""
    priority: int = 0
    """0 goes first, 3 last; equal ones in the order they came."""
    attempts: int = 3
    """How often it is started at most, the first time included."""
    backoff: Backoff = Backoff()
    timeout: timedelta | None = timedelta(minutes=5)
    """How long one attempt may take; None: for ever."""
    expires_in: timedelta | None = None
    """It is not started any more when this time has passed since it was published."""
    deduplication: Deduplication | None = None

    def __post_init__(self) -> None:
        """Refuse what no engine could do.

        Raises:
            InvalidJobError: names the option, its value and what is possible.
        """
        check_queue_name(self.queue)
        if self.priority not in PRIORITIES:
            message = f"priority is a number from 0, first, to 3, last, not {self.priority!r}"
            raise InvalidJobError(message)
        if self.attempts < 1:
            message = f"attempts is at least 1, not {self.attempts!r}"
            raise InvalidJobError(message)
        if self.delay < timedelta():
            message = "delay can't be negative"
            raise InvalidJobError(message)
        for name in ("timeout", "expires_in"):
            value: timedelta | None = getattr(self, name)
            if value is not None and value < SHORTEST:  # engines would read 0 as no limit
                message = f"{name} is at least a millisecond, or None"
                raise InvalidJobError(message)

    def changed(self, changes: OptionChanges) -> JobOptions:
        """Return a copy with some options changed.

        Raises:
            InvalidJobError: an option that does not exist, or a value that can't be had.
        """
        if not changes:
            return self
        if unknown := sorted(set(changes) - {field.name for field in fields(self)}):
            message = f"there is no job option {', '.join(unknown)}"
            raise InvalidJobError(message)
        return replace(self, **changes)


def check_queue_name(name: str) -> None:
    """Refuse a name that an engine would misread.

    Raises:
        InvalidJobError: with the characters that are possible.
    """
    if not (0 < len(name) <= 60 and name.isascii() and name.replace("-", "").isalnum()):  # noqa: PLR2004
        message = f"a queue's name has 1 to 60 letters, digits and hyphens, unlike {name!r}"
        raise InvalidJobError(message)
