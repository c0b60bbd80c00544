"""Jobs that come again: by cron or at an interval, once however many workers run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadDateError, croniter

from app.infrastructure.queue.errors import InvalidJobError
from app.infrastructure.queue.options import OptionChanges

SHORTEST = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A job that is published again and again. A module contributes it, or code puts it."""

    key: str
    """Unique within its queue: the same key replaces the schedule."""
    job: str
    """Name of the handler."""
    payload: Any = None
    cron: str | None = None
    """Five fields, or six with seconds first."""
    timezone: str = "UTC"
    """IANA name in which `cron` is read: clocks that are put forward or back are minded."""
    every: timedelta | None = None
    """The interval instead of a `cron`."""
    options: OptionChanges = field(default_factory=OptionChanges)

    def __post_init__(self) -> None:
        """Refuse what would never fire, or all the time.

        Raises:
            InvalidJobError: says what to change.
        """
        if (self.cron is None) == (self.every is None):
            message = f"schedule {self.key!r}: give either cron= or every="
            raise InvalidJobError(message)
        if self.every is not None and self.every < SHORTEST:
            message = f"schedule {self.key!r}: the shortest interval is {SHORTEST}"
            raise InvalidJobError(message)
        if self.cron is not None and not _fires(self.cron):
            message = f"schedule {self.key!r}: {self.cron!r} is no cron expression, or never fires"
            raise InvalidJobError(message)
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            message = f"schedule {self.key!r}: there is no time zone {self.timezone!r}"
            raise InvalidJobError(message) from error

    def after(self, moment: datetime, fired: datetime | None = None) -> datetime:
        """Return the first time after `moment` at which it fires.

        `fired` is a time at which it did: intervals are counted from it, so that whoever looks
        comes to the same times.
        """
        if self.every is not None:
            since = fired or moment
            return since + ((moment - since) // self.every + 1) * self.every
        # In wall time: croniter's own reckoning is an hour off after clocks have changed. A time
        # that is skipped fires an hour later, one that comes twice fires the first time.
        zone = ZoneInfo(self.timezone)
        wall = moment.astimezone(zone).replace(tzinfo=None)
        times = croniter(self.cron or "", wall, second_at_beginning=True)
        found = moment
        while found <= moment:
            following: datetime = times.get_next(datetime)
            found = following.replace(tzinfo=zone).astimezone(moment.tzinfo)
        return found


def _fires(cron: str) -> bool:
    """Tell whether an expression can be read, and comes round again."""
    if not croniter.is_valid(cron, second_at_beginning=True):
        return False
    try:
        croniter(cron, second_at_beginning=True).get_next()
    except CroniterBadDateError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """A schedule as the queue knows it."""

    key: str
    queue: str
    job: str
    cron: str | None = None
    timezone: str | None = None
    every: timedelta | None = None
    next_at: datetime | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
