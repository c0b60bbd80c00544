"""What an engine gets to work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from redis.asyncio import Redis

from app.core.settings import SettingsBundle
from app.infrastructure.queue.settings import QueueSettings
from app.infrastructure.redis import KeySpace, Multiplexer


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineParts:
    """Passed to the `build` function of an engine's folder."""

    settings: QueueSettings
    all_settings: SettingsBundle
    """Where an engine finds its own."""
    keys: KeySpace
    connect: Callable[[], Redis]
    """Makes a Redis client of its own: whoever blocks, or has a thread, needs one."""
    multiplex: Callable[[float], Multiplexer | None]
    """Makes what sends the commands of many tasks over one socket, where the server allows it, and
    fails those that are unanswered for so many seconds."""
