"""The cache."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, TypeVar, overload

from loguru import logger

from app.core.work import WorkPort, WorkState
from app.infrastructure.cache.codec import Codec, codec_of, read_missing
from app.infrastructure.cache.filling import Filler, OutdatedError
from app.infrastructure.cache.flights import Flights
from app.infrastructure.cache.link import AwayError
from app.infrastructure.cache.names import Names, checked
from app.infrastructure.cache.plan import returned
from app.infrastructure.cache.refreshing import Refresher
from app.infrastructure.cache.scoped import Again, Scopes
from app.infrastructure.cache.settings import CacheSettings
from app.infrastructure.cache.statistics import CacheStatistics, Happened
from app.infrastructure.cache.store import Entry, Place, Seen, Store
from app.infrastructure.cache.wanted import (
    MISSING,
    VALUE,
    Keeping,
    Outcome,
    Wanted,
)

ValueT = TypeVar("ValueT")
PLACES = 4_096
"""Places whose names are remembered: making them is work at each hit."""


class Cache:
    """Keeps values in Redis for all processes of the service; computes without it if need be.

    Inside a unit of work that has written, everything is computed and nothing kept: others must not
    see what may be rolled back.
    """

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        store: Store,
        names: Names,
        settings: CacheSettings,
        works: Sequence[WorkPort] = (),
        scopes: Scopes | None = None,
        *,
        lag: float = 0.0,
    ) -> None:
        """Keep values in `store`.

        Args:
            store: entries and stamps.
            names: their keys.
            settings: times.
            works: how to know units of work.
            scopes: makes calls again in the background.
            lag: seconds by which what is read may be old.
        """
        self.statistics = CacheStatistics()
        self.enabled = settings.enable_cache
        self._store = store
        self._names = names
        self._works = works
        self._scopes = scopes
        self._flights: Flights[Outcome] = Flights()
        self._filler = Filler(store, settings, self.statistics, self._work, lag)
        self._refresher = Refresher()
        self._forgotten = 0
        self._place = lru_cache(PLACES)(self._made_place)

    # --- Values

    @overload
    async def get_or_set(
        self,
        key: str,
        factory: Callable[[], Awaitable[ValueT]],
        ttl: float,
        *,
        model: None = None,
        tags: Collection[str] = (),
        stale: float = 0.0,
        negative_ttl: float | None = None,
    ) -> ValueT: ...

    @overload
    async def get_or_set(
        self,
        key: str,
        factory: Callable[[], Awaitable[ValueT]],
        ttl: float,
        *,
        model: type[ValueT] | Codec[ValueT],
        tags: Collection[str] = (),
        stale: float = 0.0,
        negative_ttl: float | None = None,
    ) -> ValueT: ...

    async def get_or_set(  # noqa: PLR0913 - one call says all there is to say
        self,
        key: str,
        factory: Callable[[], Awaitable[ValueT]],
        ttl: float,
        *,
        model: type[ValueT] | Codec[ValueT] | None = None,
        tags: Collection[str] = (),
        stale: float = 0.0,
        negative_ttl: float | None = None,
    ) -> ValueT:
        """Return the kept value, or have it computed and keep it.

        However many want it at once, in however many processes, one computes it. Each caller gets
        an object of its own, read from JSON, also who computed it.

        Args:
            key: a path such as `report:2026:11`; all that the value depends on is in it.
            factory: computes it.
            ttl: seconds it is kept.
            model: its type; by default what the factory's annotation says.
            tags: names by which it can be invalidated too; the same wherever the key is used.
            stale: for so many seconds after `ttl` the old value is returned at once, and the
                factory called in the background: it must not need the caller's request then.
            negative_ttl: seconds None and `NotFoundError` are kept; by default they are not.

        Raises:
            UncacheableError: the type is not known, or JSON can't hold it.
            Exception: what the factory raises.
        """
        codec = _codec(model) if model is not None else returned(factory)
        how = Keeping(codec=codec, ttl=ttl, stale=stale, negative_ttl=negative_ttl)
        return await self.fetch(Wanted(key, tuple(tags), how, factory, factory))

    async def get(
        self, key: str, model: type[ValueT] | Codec[ValueT], *, tags: Collection[str] = ()
    ) -> ValueT | None:
        """Return the kept value; None: there is none, or Redis is away.

        Args:
            key: which.
            model: its type.
            tags: those it was kept with; with others it is not found.
        """
        if not self.enabled or self._has_written():
            return None
        codec = _codec(model)
        try:
            entry = (await self._store.read(self._place(key, tuple(tags), codec.fingerprint))).entry
        except AwayError:
            entry = None
        found = entry is not None and entry.kind == VALUE and _is_fresh(entry)
        self.statistics.count(key.partition(":")[0], Happened.HIT if found else Happened.MISS)
        return codec.read(entry.text) if found and entry else None

    async def set(
        self,
        key: str,
        value: ValueT,
        ttl: float,
        *,
        model: type[ValueT] | Codec[ValueT],
        tags: Collection[str] = (),
    ) -> None:
        """Keep a value, whatever is kept or being computed. After the commit, in a unit of work.

        For what is known here alone. What was read from a database is better computed by
        `get_or_set` and invalidated when it changes: of two who write, the slower one wins here.

        Raises:
            UncacheableError: JSON can't hold it.
        """
        if not self.enabled:
            return
        how = Keeping(codec=_codec(model), ttl=ttl)
        place = self._place(key, tuple(tags), how.codec.fingerprint)
        text = how.codec.write(value)
        await self._after_commit(partial(self._filler.put, place, how, text))

    async def fetch(self, wanted: Wanted[ValueT]) -> ValueT:
        """Return what is wanted; see `get_or_set`."""
        if not self.enabled:
            return await wanted.make()
        if self._has_written():
            self._count(wanted, Happened.BYPASSED)
            return await wanted.make()
        place = self._place(wanted.key, wanted.tags, wanted.how.codec.fingerprint)
        outcome = await self._outcome(wanted, place)
        try:
            return _value(wanted.how, outcome)
        except ValueError as error:  # of pydantic too
            self._count(wanted, Happened.ERROR)
            logger.warning("Entry {} of the cache can't be read: {!r}", wanted.key, error)
            await self._drop(place)
        return await wanted.make()

    # --- Invalidation

    async def delete(self, *keys: str, immediate: bool = False) -> None:
        """Forget keys and what is below them: `user:42` takes `user:42:posts` along.

        O(1) for each key. In a unit of work it waits for the commit.

        Args:
            keys: which.
            immediate: now, whatever becomes of the unit of work.
        """
        stamps = [self._names.path(checked(key)) for key in keys]
        await self._invalidate(stamps, immediate=immediate)

    async def invalidate(
        self, *, tags: Collection[str] = (), prefix: str | None = None, immediate: bool = False
    ) -> None:
        """Forget everything with one of the tags, or whose key begins with the parts of `prefix`.

        One step on one server, O(1) for each tag however many entries have it. A value that is
        being computed meanwhile is not used after it. In a unit of work it waits for the commit.

        Args:
            tags: which.
            prefix: whole parts of keys: `user` takes `user:42`, not `users:1`.
            immediate: now, whatever becomes of the unit of work.
        """
        stamps = [self._names.tag(checked(tag, "tag")) for tag in tags]
        if prefix is not None:
            stamps.append(self._names.path(checked(prefix, "prefix")))
        await self._invalidate(stamps, immediate=immediate)

    async def clear(self) -> None:
        """Forget everything, now. O(1); the memory is free when the entries expire."""
        await self._invalidate([self._names.everything], immediate=True)

    def again(
        self, function: Callable[..., Awaitable[Any]], args: Any, kwargs: Mapping[str, Any]
    ) -> Again | None:
        """Return what makes a method's call once more, in a scope of its own; None: impossible."""
        return self._scopes.again(function, args, kwargs) if self._scopes else None

    async def close(self) -> None:
        """End what is computed in the background."""
        await self._refresher.close()

    # --- How

    async def _outcome(self, wanted: Wanted[ValueT], place: Place) -> Outcome:
        try:
            seen = await self._store.read(place)
            entry = seen.entry
            if entry is not None and _is_fresh(entry):
                self._count(wanted, Happened.HIT)
                return Outcome(entry.kind, entry.text)
            # It may be kept for longer than this caller wants: for one with another `stale`.
            if entry is not None and _is_fresh(entry, wanted.how.stale):
                return await self._stale(wanted, place, seen, entry)
            self._count(wanted, Happened.MISS)
            return await self._fill(wanted, place, seen)
        except AwayError:
            # Who comes after an invalidation does not share what was begun before it.
            key = (place.entry, self._forgotten)
            return await self._join(wanted, key, partial(self._filler.alone, wanted))

    async def _fill(self, wanted: Wanted[ValueT], place: Place, seen: Seen) -> Outcome:
        while True:
            if not seen.state:
                seen = await self._store.read_or_begin(place, wanted.how.life)
            if not seen.state:  # evicted at once
                raise AwayError
            # Its state is part of it, for the same reason.
            key = (place.entry, seen.state)
            try:
                return await self._join(
                    wanted, key, partial(self._filler.fill, wanted, place, seen)
                )
            except OutdatedError:
                seen = await self._store.read(place)

    async def _stale(
        self, wanted: Wanted[ValueT], place: Place, seen: Seen, entry: Entry
    ) -> Outcome:
        """Give the old value; have a new one computed, by the caller if nobody else can."""
        old = Outcome(entry.kind, entry.text)
        self._count(wanted, Happened.STALE)
        renew = partial(self._filler.fill, old=old)
        if wanted.again is not None:
            later = Wanted(wanted.key, wanted.tags, wanted.how, wanted.again)
            self._refresher.later(place.entry, partial(renew, later, place, seen))
            return old
        try:
            return (
                await self._refresher.now(place.entry, partial(renew, wanted, place, seen)) or old
            )
        except OutdatedError:
            return await self._fill(wanted, place, await self._store.read(place))

    async def _join(
        self,
        wanted: Wanted[ValueT],
        key: tuple[object, ...],
        lead: Callable[[], Awaitable[Outcome]],
    ) -> Outcome:
        landed = await self._flights.join(key, lead, lambda outcome: outcome.is_shared)
        if landed.was_shared:
            self._count(wanted, Happened.SHARED)
        return landed.result

    async def _drop(self, place: Place) -> None:
        try:
            await self._store.forget(place)
        except AwayError:
            return

    async def _invalidate(self, stamps: Sequence[str], *, immediate: bool) -> None:
        if not stamps:
            message = "say what: keys, tags or a prefix"
            raise ValueError(message)

        async def do() -> None:
            self._forgotten += 1
            await self._store.invalidate(stamps)
            logger.debug("Cache: {} invalidated", stamps)

        await (do() if immediate else self._after_commit(do))

    async def _after_commit(self, do: Callable[[], Awaitable[None]]) -> None:
        for port in self._works:
            if port.state() is not None:
                port.after_commit(do)
                return
        await do()

    def _work(self) -> WorkState | None:
        """Return the state of the running units of work as one."""
        states = [state for port in self._works if (state := port.state()) is not None]
        if not states:
            return None
        return WorkState(max(s.age for s in states), any(s.has_written for s in states))

    def _has_written(self) -> bool:
        work = self._work()
        return work is not None and work.has_written

    def _made_place(self, key: str, tags: tuple[str, ...], schema: str) -> Place:
        names = self._names
        stamps = names.stamps(key, tags)
        return Place(names.entry(key, schema), names.lock(key, schema), stamps)

    def _count(self, wanted: Wanted[ValueT], what: Happened) -> None:
        self.statistics.count(wanted.title, what)
        logger.debug("Cache {}: {}", what, wanted.key)


def _codec(model: type[ValueT] | Codec[ValueT]) -> Codec[ValueT]:
    return model if isinstance(model, Codec) else codec_of(model)


def _is_fresh(entry: Entry, stale: float = 0.0) -> bool:
    return entry.fresh_until > (time.time() - stale) * 1000


def _value(how: Keeping[ValueT], outcome: Outcome) -> ValueT:
    """Return the value, a new object for each caller.

    Raises:
        ValueError: it can't be read.
        NotFoundError: that is the outcome.
    """
    if outcome.kind == VALUE:
        return how.codec.read(outcome.text)
    if outcome.kind == MISSING:
        if (error := read_missing(outcome.text)) is not None:
            raise error
        return None  # type: ignore[return-value]  # it came from a call that may return None
    value: ValueT = outcome.value
    return value
