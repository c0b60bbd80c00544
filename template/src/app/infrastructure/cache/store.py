"""Entries, and the stamps they depend on.

An entry depends on the stamps of its key, of all that is above it, of its tags, and of the cache as
a whole. It holds their state at the moment its value began to be computed. Invalidating gives one
stamp another value, in one step, however many entries depend on it: they are dead, and so is what
is being computed meanwhile and will be kept later. A stamp that is not there (expired, evicted,
lost) makes its entries dead too.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from app.infrastructure.cache import scripts
from app.infrastructure.cache.link import AwayError, Call, Line, Link
from app.infrastructure.cache.names import Names

SETTLE = 600.0
"""Seconds a stamp is kept for its time alone. A unit of work that is older keeps nothing."""
MARGIN = 60.0
"""Seconds by which a stamp outlives the entries that need it."""
MOST_OWED = 10_000
"""Invalidations that wait for Redis; with more of them, everything is."""
TIME_DIGITS, STATE_DIGITS = 13, 16
HEAD = TIME_DIGITS + STATE_DIGITS
NEVER_CHANGED = "0" * TIME_DIGITS


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is kept, and what it depends on: keys in Redis."""

    entry: str
    lock: str
    stamps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A kept value."""

    fresh_until: int
    """Milliseconds since 1970."""
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What is kept at a place at one moment."""

    state: str
    """Of all stamps; empty: one of them is missing."""
    changed_at: int
    """When the last of them was invalidated, in milliseconds since 1970; 0: none was lately."""
    entry: Entry | None
    """None: there is none, or it is dead."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What came of the wish to compute a value."""

    entry: Entry | None = None
    """It is there already."""
    held: str = ""
    """Somebody else's lock."""
    now: int = 0
    """When it was granted, by the clock of Redis, in milliseconds since 1970."""


class Store:
    """Reads and writes them. All methods raise `AwayError`, except where they say otherwise."""

    def __init__(self, link: Link, names: Names) -> None:
        """Keep them over `link`."""
        self._link = link
        self._names = names
        self._owed: dict[str, object] = {}
        """Stamps, each with the invalidation that is owed last."""

    async def read(self, place: Place) -> Seen:
        """Look at a place."""
        await self._pay()
        keys = (place.entry, *place.stamps)
        if self._link.spreads:
            raw, *stamps = await self._link.run(*(("GET", key) for key in keys))
        else:
            ((raw, *stamps),) = await self._link.run(("MGET", *keys))
        return _seen(raw, stamps)

    async def read_or_begin(self, place: Place, life: float) -> Seen:
        """Look at a place after giving it the stamps it lacks, for `life` seconds."""
        await self._pay()
        keys = (place.entry, *place.stamps)
        asked: list[Line] = [
            ("SET", stamp, NEVER_CHANGED + _word(), "NX", "PX", _ms(life + MARGIN))
            for stamp in place.stamps
        ]
        asked += [("GET", key) for key in keys]
        answers = await self._link.run(*asked)
        raw, *stamps = answers[len(place.stamps) :]
        return _seen(raw, stamps)

    async def claim(self, place: Place, lock: str, lease: float, over: str) -> Claim:
        """Begin to compute a value.

        Args:
            place: whose value.
            lock: of this attempt, made by `new_lock`.
            lease: seconds until it may be taken over.
            over: a lock that may be taken over now.
        """
        keys = (place.lock, place.entry)
        asked = Call(scripts.ACQUIRE, keys, (lock, _ms(lease), over))
        ((what, said),) = await self._link.run(asked)
        if what == "entry":
            return Claim(entry=_entry(said))
        return Claim(held=said) if what == "held" else Claim(now=int(said))

    async def keep(  # noqa: PLR0913 - what there is to say about an entry
        self, place: Place, *, lock: str, state: str, ttl: float, stale: float, kind: str, text: str
    ) -> bool:
        """Keep a value; return False if the lock is another's by now, and nothing was kept.

        Args:
            place: where.
            lock: under which it was computed; empty: keep it in any case.
            state: the stamps' when that began.
            ttl: seconds it is fresh.
            stale: seconds it may be used after that.
            kind: what the text is.
            text: the value.
        """
        arguments = (lock, _ms(ttl), _ms(stale), f"{state}{kind}{text}")
        kept = Call(scripts.STORE, (place.lock, place.entry), arguments)
        life = _ms(ttl + stale + MARGIN)
        answers = await self._link.run(
            kept, *(Call(scripts.TOUCH, keys, (life,)) for keys in self._together(place.stamps))
        )
        return bool(answers[0])

    async def renew(self, place: Place, lock: str, lease: float) -> bool:
        """Hold a lock for longer; return False if it is another's by now."""
        (held,) = await self._link.run(Call(scripts.RENEW, (place.lock,), (lock, _ms(lease))))
        return bool(held)

    async def release(self, place: Place, lock: str) -> None:
        """Let others compute. A lock that can't be released expires."""
        try:
            await self._link.run(Call(scripts.RELEASE, (place.lock,), (lock,)))
        except AwayError:
            return

    async def forget(self, place: Place) -> None:
        """Drop one entry."""
        await self._link.run(("UNLINK", place.entry))

    async def invalidate(self, stamps: Collection[str]) -> None:
        """Make dead what depends on any of the stamps.

        When Redis is away that is owed: it is done before this process uses Redis again. Raises
        nothing. The same holds when the task is cancelled: what was changed stays changed.
        """
        try:
            await self._pay()
            await self._change(stamps)
        except BaseException as error:
            self._owed |= dict.fromkeys(stamps, object())
            if len(self._owed) > MOST_OWED:
                self._owed = {self._names.everything: object()}
            if not isinstance(error, AwayError):
                raise

    @property
    def owes(self) -> int:
        """How many invalidations wait for Redis."""
        return len(self._owed)

    async def pay(self, *, at_last: bool = False) -> None:
        """Do what is owed; `at_last`: though Redis was away a moment ago."""
        if at_last:
            await self._link.ask()
        await self._pay()

    async def count(self, counts: dict[str, int], life: float) -> None:
        """Add to the counters all processes share."""
        key = self._names.counters
        added = [("HINCRBY", key, field, number) for field, number in counts.items()]
        await self._link.run(*added, ("PEXPIRE", key, _ms(life)))

    async def counted(self) -> dict[str, int]:
        """Return those counters."""
        (answer,) = await self._link.run(("HGETALL", self._names.counters))
        # A pipeline of redis-py makes a dictionary of it, the multiplexer leaves the list.
        pairs = (
            answer.items() if isinstance(answer, dict) else zip(*[iter(answer)] * 2, strict=True)
        )
        return {field: int(number) for field, number in pairs}

    async def _pay(self) -> None:
        if self._owed:
            paid = dict(self._owed)
            await self._change(paid)
            # What has been owed again meanwhile is another change, which this was too early for.
            for stamp, debt in paid.items():
                if self._owed.get(stamp) is debt:
                    del self._owed[stamp]

    async def _change(self, stamps: Collection[str]) -> None:
        arguments = (_word(), _ms(SETTLE))
        await self._link.run(
            *(Call(scripts.INVALIDATE, keys, arguments) for keys in self._together(stamps))
        )

    def _together(self, keys: Collection[str]) -> Sequence[Sequence[str]]:
        """Return the keys such that one script can have those of a group."""
        return [[key] for key in keys] if self._link.spreads else [list(keys)]


def new_lock(state: str) -> str:
    """Return the lock of one attempt to compute a value for a state."""
    return secrets.token_hex(8) + state


def state_of(lock: str) -> str:
    """Return for which state a lock's holder computes."""
    return lock[STATE_DIGITS:]


def _seen(raw: str | None, stamps: Sequence[str | None]) -> Seen:
    if None in stamps:
        return Seen("", 0, None)
    present: Any = stamps
    state = blake2b(" ".join(present).encode(), digest_size=STATE_DIGITS // 2).hexdigest()
    changed = max(int(stamp[:TIME_DIGITS]) for stamp in present)
    alive = raw is not None and raw[TIME_DIGITS:HEAD] == state
    return Seen(state, changed, _entry(raw) if raw and alive else None)


def _entry(raw: str) -> Entry:
    return Entry(int(raw[:TIME_DIGITS]), raw[HEAD], raw[HEAD + 1 :])


def _word() -> str:
    return secrets.token_hex(8)


def _ms(seconds: float) -> int:
    return max(round(seconds * 1000), 1)
