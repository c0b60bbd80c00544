"""How a decorated method finds the cache: by the event loop it runs on.

A method knows nothing but its arguments, and must work where there is no service: in a test of its
own, in a script. So the module puts the cache of a started service down for the running event loop
and takes it away again at shutdown. Two services in one process do not meet unless they share a
loop; then the one started last counts. Where no service runs, the method is simply called.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from app.infrastructure.cache.caching import Cache

_running: WeakKeyDictionary[AbstractEventLoop, list[Cache]] = WeakKeyDictionary()


def current_cache() -> Cache | None:
    """Return the cache decorated methods use here; None: there is none, they are just called."""
    started = _running.get(asyncio.get_running_loop())
    return started[-1] if started else None


@contextmanager
def use_cache(cache: Cache) -> Iterator[Cache]:
    """Let decorated methods on the running loop use this one in the block: for tests, scripts."""
    put_down(cache)
    try:
        yield cache
    finally:
        take_away(cache)


def put_down(cache: Cache) -> None:
    """Let decorated methods on the running loop use it."""
    _running.setdefault(asyncio.get_running_loop(), []).append(cache)


def take_away(cache: Cache) -> None:
    """End that; the one put down before it counts again."""
    started = _running.get(asyncio.get_running_loop(), [])
    if cache in started:
        started.remove(cache)
