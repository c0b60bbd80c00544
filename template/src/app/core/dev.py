"""What `app dev` does before it starts the service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DevStep:
    """A preparation a module contributes: `Module(contributes=(DevStep(...),))`.

    Runs in module order, in development only, each time `app dev` starts: it must be idempotent.
    """

    name: str
    """What it does, shown while it runs: "migrate the database"."""
    run: Callable[[], str]
    """Does it, synchronously; returns the outcome in a few words."""
