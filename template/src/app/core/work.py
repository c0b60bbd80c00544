"""What a module may know of the running unit of work without knowing the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.core.settings import SettingsBundle


@dataclass(frozen=True, slots=True)
class WorkState:
    """How far a unit of work is."""

    age: float
    """Seconds since it began. What it reads may be as old as that: a snapshot, an identity map."""
    has_written: bool
    """It has changed something that nobody else sees yet, and that may be rolled back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkPort:
    """Contributed by a module that has transactions: `Module(contributes=(WorkPort(...),))`.

    For modules that keep or tell what was read from it, such as a cache.
    """

    state: Callable[[], WorkState | None]
    """Returns the state of the unit of work that is running here, None outside of one."""
    after_commit: Callable[[Callable[[], Awaitable[None]]], None]
    """Has something run once that unit of work is committed; never when it is rolled back."""
    may_lag: Callable[[SettingsBundle], bool]
    """Whether, with these settings, reads may come from a copy that is behind."""
