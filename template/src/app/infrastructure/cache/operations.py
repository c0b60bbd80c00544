"""What `app cache` does, and what it prints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from dishka import AsyncContainer

from app.core.discovery import discover
from app.core.service import in_service, part_of
from app.infrastructure.cache.caching import Cache
from app.infrastructure.cache.link import AwayError
from app.infrastructure.cache.statistics import Happened
from app.infrastructure.cache.store import Store
from app.infrastructure.redis import RedisUnavailableError

ResultT = TypeVar("ResultT")


def _with_cache(use: Callable[[AsyncContainer], Awaitable[ResultT]]) -> ResultT:
    return in_service(part_of(discover(), {"cache"}), use)  # nothing else has to run for this


def stats() -> str:
    """Return a table."""

    async def look(container: AsyncContainer) -> Mapping[str, int]:
        try:
            return await (await container.get(Store)).counted()
        except AwayError as error:
            raise RedisUnavailableError from error

    counted = _with_cache(look)
    rows: dict[str, dict[str, int]] = defaultdict(dict)
    for field, number in counted.items():
        name, _, what = field.rpartition("|")
        rows[name][what] = number
    if not rows:
        return "nothing was asked of the cache yet"
    return "\n".join(_line(name, rows[name]) for name in sorted(rows))


def _line(name: str, counts: Mapping[str, int]) -> str:
    found = counts.get(Happened.HIT, 0) + counts.get(Happened.STALE, 0)
    asked = found + counts.get(Happened.MISS, 0)
    share = f"{found / asked:.0%} found" if asked else "never looked up"
    shown = ", ".join(f"{kind} {counts[kind]}" for kind in Happened if kind in counts)
    return f"{name}  {share}  ({shown})"


def clear(tags: Sequence[str], prefix: str | None) -> None:
    """Forget what has one of the tags or the prefix; everything, if there are neither."""

    async def do(container: AsyncContainer) -> None:
        cache = await container.get(Cache)
        if tags or prefix:
            await cache.invalidate(tags=tags, prefix=prefix)
        else:
            await cache.clear()
        if (await container.get(Store)).owes:
            raise RedisUnavailableError

    _with_cache(do)
