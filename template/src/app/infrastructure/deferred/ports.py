"""What another module may do for deferred calls. They work without."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dishka import AsyncContainer

from app.infrastructure.queue import Job

IDEMPOTENCY = "deferred-idempotency"
"""Header of a job: the key under which its result is kept."""


@dataclass(frozen=True, slots=True)
class Detour:
    """Takes jobs on another way to the queue, such as through the caller's transaction.

    `take` gets the application's container and the jobs; False: not now, publish them.
    """

    take: Callable[[AsyncContainer, Sequence[Job]], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class OnceOnly:
    """Makes a call once for each key.

    `run` gets the job's scope, the key, and what makes the call; it returns the result, as JSON
    knows values, of the first time. The key and the effect are committed together.
    """

    run: Callable[[AsyncContainer, str, Callable[[], Awaitable[Any]]], Awaitable[Any]]
