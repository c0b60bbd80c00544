"""How a deferred call is to be treated: declared on classes and methods, or said at the call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, TypeVar, Unpack, cast

from app.infrastructure.deferred.errors import InvalidCallError
from app.infrastructure.queue import Backoff, Deduplication
from app.infrastructure.queue.options import OptionChanges

DECLARED = "__deferrable__"
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
    Where one `run_later` records several calls, each gets a key of its own: `key`, `key#2`, …"""
    idempotency: str
    """The effect of the call and this key are committed together: a second call of the key, or a
    second start of the job, returns the first result. Keys of several calls as for `dedupe`."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What `@deferrable` left on a class or a method."""

    options: OptionChanges = field(default_factory=OptionChanges)
    aliases: tuple[str, ...] = ()


def deferrable(
    *, aliases: Iterable[str] = (), **defaults: Unpack[CallDefaults]
) -> Callable[[ItemT], ItemT]:
    """Declare defaults for deferred calls of a class or a method: `@deferrable(attempts=5)`.

    A method's defaults count more than its class's. In a chain those of its last method count.
    This declares no class deferrable: a module lists it, as `Deferrable(EmailService)`.

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


def as_changes(options: CallOptions, index: int = 0) -> OptionChanges:
    """Return options of a call as those of a job.

    Args:
        options: of the call.
        index: which of the calls of one `run_later` it is, from 0.

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
        changes["deduplication"] = _keyed(changes.pop("dedupe"), index)
    changes.pop("idempotency", None)
    return cast("OptionChanges", changes)


def _until(eta: datetime) -> timedelta:
    if eta.tzinfo is None:
        message = f"`eta` needs a time zone: {eta!r} has none"
        raise InvalidCallError(message)
    return max(eta - datetime.now(UTC), timedelta())


def _keyed(dedupe: str | Deduplication, index: int) -> Deduplication:
    whole = Deduplication(key=dedupe) if isinstance(dedupe, str) else dedupe
    return replace(whole, key=numbered(whole.key, index))


def numbered(key: str, index: int) -> str:
    """Return the key of one of several calls that were given one key."""
    return f"{key}#{index + 1}" if index else key
