"""Computes a value, in one process of all, and keeps it if it may be kept."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TypeVar

from loguru import logger

from app.core.errors import NotFoundError
from app.core.work import WorkState
from app.infrastructure.cache.codec import UncacheableError, write_missing
from app.infrastructure.cache.lease import Lease
from app.infrastructure.cache.link import AwayError
from app.infrastructure.cache.settings import CacheSettings
from app.infrastructure.cache.statistics import CacheStatistics, Happened
from app.infrastructure.cache.store import (
    SETTLE,
    Claim,
    Place,
    Seen,
    Store,
    new_lock,
    state_of,
)
from app.infrastructure.cache.wanted import (
    MISSING,
    UNWRITTEN,
    VALUE,
    Keeping,
    Outcome,
    Wanted,
)

ValueT = TypeVar("ValueT")
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.1
"""Seconds between two looks at what another process computes."""


class OutdatedError(Exception):
    """It was invalidated before anybody began to compute it. Never leaves the cache."""


class Filler:
    """Computes and keeps values."""

    def __init__(
        self,
        store: Store,
        settings: CacheSettings,
        statistics: CacheStatistics,
        work: Callable[[], WorkState | None],
        lag: float,
    ) -> None:
        """Keep what is computed in `store`.

        Args:
            store: entries and locks.
            settings: times.
            statistics: where it is counted.
            work: returns the state of the running unit of work.
            lag: seconds by which what is read may be old.
        """
        self._store = store
        self._settings = settings
        self._statistics = statistics
        self._work = work
        self._lag = lag
        self._complained: set[str] = set()
        self._releasing: set[asyncio.Task[None]] = set()

    async def fill(
        self, wanted: Wanted[ValueT], place: Place, seen: Seen, old: Outcome | None = None
    ) -> Outcome:
        """Compute a value unless another process does; then wait for that.

        Args:
            wanted: what to compute.
            place: where to keep it.
            seen: what it depends on, before anything was computed.
            old: what to be content with instead of waiting.

        Raises:
            OutdatedError: what was seen is no longer so.
            AwayError: Redis went away before it was begun.
            Exception: what computing raises.
        """
        lock = new_lock(seen.state)
        claim = await self._claim(place, lock, seen.state, wait=old is None)
        if claim.entry:
            self._count(wanted, Happened.SHARED)
            return Outcome(claim.entry.kind, claim.entry.text)
        if claim.held:
            return old or await self.alone(wanted)
        return await self._compute(wanted, place, seen, lock, claim.now)

    async def alone(self, wanted: Wanted[ValueT]) -> Outcome:
        """Compute a value and don't keep it."""
        self._count(wanted, Happened.ALONE)
        return await self._make(wanted)

    async def put(self, place: Place, how: Keeping[ValueT], text: str) -> None:
        """Keep a value that is known."""
        try:
            seen = await self._store.read_or_begin(place, how.life)
            if seen.state:
                await self._keep(place, how, Outcome(VALUE, text), lock="", state=seen.state)
        except AwayError:
            return

    async def _claim(self, place: Place, lock: str, state: str, *, wait: bool) -> Claim:
        """Return a claim that is granted, or an entry; after the longest wait one that is not."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._settings.cache_wait if wait else 0.0)
        pause, over = FIRST_PAUSE, ""
        while True:
            claim = await self._store.claim(place, lock, self._settings.cache_lease, over)
            if not claim.held:
                return claim
            if state_of(claim.held) != state:
                # Somebody computes for another state. Whose is the present one?
                if (await self._store.read(place)).state != state:
                    raise OutdatedError
                over = claim.held
                continue
            over = ""
            if loop.time() >= deadline:
                return claim
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load
            pause = min(pause * 1.5, LONGEST_PAUSE)

    async def _compute(
        self, wanted: Wanted[ValueT], place: Place, seen: Seen, lock: str, now: int
    ) -> Outcome:
        is_old = self._reads_what_is_older(now, seen.changed_at)
        try:
            with Lease(self._store, place, lock, self._settings.cache_lease):
                outcome = await self._make(wanted)
            return await self._settle(wanted, place, lock, outcome, seen, is_old=is_old)
        except BaseException:
            # A task of its own: this one may be cancelled, and others wait for the lock.
            task = asyncio.create_task(self._store.release(place, lock), name="cache release")
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)
            raise

    async def _settle(  # noqa: PLR0913 - what is known of a computation
        self,
        wanted: Wanted[ValueT],
        place: Place,
        lock: str,
        outcome: Outcome,
        seen: Seen,
        *,
        is_old: bool,
    ) -> Outcome:
        """Keep what was computed, if it may be kept; nobody waits for the lock after that."""
        work = self._work()
        is_private = is_old or (work is not None and work.has_written)
        if is_private or outcome.kind == UNWRITTEN:
            await self._store.release(place, lock)
        if is_private:
            self._count(wanted, Happened.OUTDATED)
            return Outcome(outcome.kind, outcome.text, outcome.value, is_shared=False)
        if outcome.kind != UNWRITTEN:
            try:
                kept = await self._keep(place, wanted.how, outcome, lock=lock, state=seen.state)
            except AwayError:
                return outcome
            if not kept:
                self._count(wanted, Happened.OUTDATED)
        return outcome

    def _reads_what_is_older(self, now: int, changed_at: int) -> bool:
        """Tell whether what is read here may be older than the last invalidation.

        A unit of work may have a snapshot, or objects, from before it; a replica may be behind.
        """
        work = self._work()
        age = work.age if work else 0.0
        if age > SETTLE:
            return True
        if not changed_at or not (work or self._lag):
            return False
        return (now - changed_at) / 1000 <= age + self._lag

    async def _make(self, wanted: Wanted[ValueT]) -> Outcome:
        try:
            value = await wanted.make()
        except NotFoundError as error:
            return self._missing(wanted, error)
        finally:
            self._count(wanted, Happened.COMPUTED)
        if value is None:
            return self._missing(wanted, None)
        try:
            return Outcome(VALUE, wanted.how.codec.write(value))
        except UncacheableError as error:
            self._complain(wanted, error)
            return Outcome(UNWRITTEN, value=value)

    def _missing(self, wanted: Wanted[ValueT], error: NotFoundError | None) -> Outcome:
        """Return that there is none, to be kept where that is wanted."""
        if wanted.how.negative_ttl is not None:
            try:
                return Outcome(MISSING, write_missing(error))
            except UncacheableError as reason:
                self._complain(wanted, reason)
        if error is not None:
            raise error
        return Outcome(UNWRITTEN)

    async def _keep(
        self, place: Place, how: Keeping[ValueT], outcome: Outcome, *, lock: str, state: str
    ) -> bool:
        jitter = self._settings.cache_jitter if how.jitter is None else how.jitter
        missing = outcome.kind == MISSING and how.negative_ttl is not None
        life = how.negative_ttl if missing and how.negative_ttl else how.ttl
        return await self._store.keep(
            place,
            lock=lock,
            state=state,
            ttl=life * (1 - jitter * random.random()),  # noqa: S311 - spreads load
            stale=0.0 if missing else how.stale,
            kind=outcome.kind,
            text=outcome.text,
        )

    def _complain(self, wanted: Wanted[ValueT], error: UncacheableError) -> None:
        """Count it; say it once for each kind of value."""
        self._count(wanted, Happened.ERROR)
        if wanted.title not in self._complained:
            self._complained.add(wanted.title)
            logger.error(
                "{} is not kept by the cache, it is not what its type says or no JSON: {}",
                wanted.title,
                error,
            )

    def _count(self, wanted: Wanted[ValueT], what: Happened) -> None:
        self._statistics.count(wanted.title, what)
