"""What keeps values that are too large to travel, said without knowing who sends them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from dishka import AsyncContainer


@dataclass(frozen=True, slots=True)
class LargeValues:
    """A module that can keep values contributes one; who has some that are too large finds it.

    Each gets the application's container. Processes on other machines have to see the same values.
    A key may come from a wire: `get` and `delete` touch nothing but what was put here.
    """

    put: Callable[[AsyncContainer, bytes, timedelta], Awaitable[str]]
    """Keep bytes for at least this long; returns the key they are found by."""
    get: Callable[[AsyncContainer, str], Awaitable[bytes]]
    """Return what was put; raises where it is not there any more."""
    delete: Callable[[AsyncContainer, str], Awaitable[None]]
    """Nobody asks for it any more. It may be gone already."""
