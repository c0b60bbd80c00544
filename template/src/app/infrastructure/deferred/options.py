"""How a deferred call is to be treated: declared on classes and methods, or said at the call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, TypeVar, Unpack, cast

from app.core.deferring import MARK
from app.infrastructure.deferred.errors import InvalidCallError
from app.infrastructure.queue import Backoff, Deduplication
from app.infrastructure.queue.options import OptionChanges

DECLARED = MARK
LONGEST_KEY = 190
"""Characters of an idempotency key, so that a number still fits."""
ItemT = TypeVar("ItemT", bound=Callable[..., Any])


class CallDefaults(TypedDict, total=False):
    """What `@deferrable` may declare; see `JobOptions`."""

    queue: str
    priority: int
    attempts: int
    backoff: Backoff
    timeout: timedelta | None
    expires_in: timedelta | None


class CallOptions(CallDefaults, total=False):
    """What a call may say, over what is declared."""

    delay: timedelta
    """Not started before this time has passed."""
    eta: datetime
    """Not started before this moment; aware of its time zone."""
    dedupe: str | Deduplication
    """While a call of this key waits or runs, no other is added: its handle is returned instead.
    (Not where the call goes through an outbox: then the handle knows no job.) A key said to
    `run_later` is numbered where that records several calls: `key`, `key#2`, …"""
    idempotency: str
    """The effect of the call and this key are committed together: a second call of the method with
    the key, or a second start of the job, returns the first result. Numbered as `dedupe` is."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What `@deferrable` left on a class or a method."""

    options: OptionChanges = field(default_factory=OptionChanges)
    aliases: tuple[str, ...] = ()


def deferrable(
    *, aliases: Iterable[str] = (), **defaults: Unpack[CallDefaults]
) -> Callable[[ItemT], ItemT]:
    """Declare defaults for deferred calls of a class or a method: `@deferrable(attempts=5)`.

    A method's defaults count more than its class's. In a chain those of its last method count. A
    class that is marked may be what a chain goes on with: `@deferrable()` on what `to(…)` returns.
    What a chain begins with is listed by a module, as `Deferrable(EmailService)`.

    Args:
        aliases: former names of a method, which jobs in flight may still carry.
        defaults: see `JobOptions`.
    """
    declared = Declared(cast("OptionChanges", defaults), tuple(aliases))

    def mark(item: ItemT) -> ItemT:
        setattr(item, DECLARED, declared)
        return item

    return mark


def declared_on(item: object) -> Declared:
    """Return what `@deferrable` declared on this very class or function."""
    found = vars(item).get(DECLARED)
    return found if isinstance(found, Declared) else Declared()


def as_changes(options: CallOptions) -> OptionChanges:
    """Return options of a call as those of a job.

    Raises:
        InvalidCallError: `eta` has no time zone, or stands beside `delay`.
    """
    changes: dict[str, Any] = dict(options)
    if "eta" in options:
        if "delay" in options:
            message = "say either `delay` or `eta`"
            raise InvalidCallError(message)
        changes["delay"] = _until(changes.pop("eta"))
    if "dedupe" in options:
        key = changes.pop("dedupe")
        changes["deduplication"] = Deduplication(key=key) if isinstance(key, str) else key
    changes.pop("idempotency", None)
    return cast("OptionChanges", changes)


def keyed(options: CallOptions, index: int) -> CallOptions:
    """Return options with the keys of one of several calls that share them.

    Args:
        options: as they were said.
        index: which of the calls it is, from 0.

    Raises:
        InvalidCallError: an idempotency key that is empty or too long.
    """
    found = options.copy()
    if (key := options.get("idempotency")) is not None:
        if not 0 < len(key) <= LONGEST_KEY:
            message = f"an idempotency key has 1 to {LONGEST_KEY} characters"
            raise InvalidCallError(message)
        found["idempotency"] = _numbered(key, index)
    if (dedupe := options.get("dedupe")) is not None:
        whole = Deduplication(key=dedupe) if isinstance(dedupe, str) else dedupe
        found["dedupe"] = replace(whole, key=_numbered(whole.key, index))
    return found


def _numbered(key: str, index: int) -> str:
    return f"{key}#{index + 1}" if index else key


def _until(eta: datetime) -> timedelta:
    if eta.tzinfo is None:
        message = f"`eta` needs a time zone: {eta!r} has none"
        raise InvalidCallError(message)
    return max(eta - datetime.now(UTC), timedelta())
