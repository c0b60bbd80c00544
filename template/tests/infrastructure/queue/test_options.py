"""What can be asked for, and what can't."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.core.errors import ConfigurationError
from app.infrastructure.queue import (
    Backoff,
    BackoffKind,
    Deduplication,
    InvalidJobError,
    JobContext,
    Schedule,
    job,
)
from app.infrastructure.queue.handlers import HandlerRegistry


def test_pauses_grow_up_to_the_longest() -> None:
    backoff = Backoff(first=timedelta(seconds=1), longest=timedelta(seconds=5), jitter=0)

    pauses = [backoff.pause(failures).total_seconds() for failures in range(1, 6)]

    assert pauses == [1, 2, 4, 5, 5]
    assert backoff.pause(10_000) == timedelta(seconds=5)


def test_a_fixed_pause_stays() -> None:
    backoff = Backoff(kind=BackoffKind.FIXED, first=timedelta(seconds=3), jitter=0)

    assert {backoff.pause(failures) for failures in (1, 2, 50)} == {timedelta(seconds=3)}


def test_jitter_only_shortens() -> None:
    backoff = Backoff(kind=BackoffKind.FIXED, first=timedelta(seconds=1), jitter=0.5)

    pauses = {backoff.pause(1).total_seconds() for _ in range(200)}

    assert len(pauses) > 100
    assert min(pauses) >= 0.5
    assert max(pauses) <= 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: Backoff(jitter=2),
        lambda: Backoff(first=timedelta(seconds=-1)),
        lambda: Deduplication(key=""),
        lambda: Deduplication(key="x" * 201),
        lambda: Deduplication(key="a", window=timedelta()),
        lambda: Schedule(key="a", job="b"),
        lambda: Schedule(key="a", job="b", cron="* * * * *", every=timedelta(seconds=1)),
        lambda: Schedule(key="a", job="b", cron="every day"),
        lambda: Schedule(key="a", job="b", cron="0 0 30 2 *"),
        lambda: Schedule(key="a", job="b", cron="* * * * *", timezone="Atlantis/Centre"),
        lambda: Schedule(key="a", job="b", every=timedelta(milliseconds=1)),
    ],
)
def test_what_makes_no_sense_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(InvalidJobError):
        make()


def test_cron_minds_the_time_zone_and_its_changes() -> None:
    """02:30 does not exist on the night clocks go forward, and 09:00 is 09:00 on both sides."""
    schedule = Schedule(key="a", job="b", cron="0 9 * * *", timezone="Europe/Berlin")
    winter = schedule.after(datetime(2026, 3, 28, 12, tzinfo=UTC) - timedelta(days=1))
    summer = schedule.after(winter + timedelta(hours=1))

    assert [moment.astimezone(ZoneInfo("Europe/Berlin")).hour for moment in (winter, summer)] == [
        9,
        9,
    ]
    assert schedule.after(datetime(2026, 3, 29, 0, tzinfo=UTC)).hour == 7
    assert schedule.after(datetime(2026, 1, 1, 0, tzinfo=UTC)).hour == 8


def test_intervals_are_counted_from_a_time_it_fired() -> None:
    """Whoever looks, and however late, comes to the same times."""
    schedule = Schedule(key="a", job="b", every=timedelta(minutes=5))
    fired = datetime(2026, 1, 1, 10, 1, 7, tzinfo=UTC)

    first = schedule.after(fired, fired)
    other = schedule.after(fired + timedelta(minutes=4, seconds=59), fired)
    late = schedule.after(fired + timedelta(minutes=11), fired)

    assert first == other == fired + timedelta(minutes=5)
    assert late == fired + timedelta(minutes=15)


def test_a_handler_must_say_its_types() -> None:
    with pytest.raises(ConfigurationError, match="must annotate 'value'"):

        @job("a")
        async def unannotated(value) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - the mistake
            ...

    with pytest.raises(ConfigurationError, match="must annotate what it returns"):

        @job("b")
        async def silent(value: int):  # type: ignore[no-untyped-def]  # noqa: ANN202 - the mistake
            ...

    with pytest.raises(ConfigurationError, match="the payload comes first"):

        @job("c")
        async def unwritable(value: HandlerRegistry) -> None: ...


def test_two_handlers_of_one_name_are_refused() -> None:
    @job("same")
    async def one(value: int) -> None: ...

    @job("same")
    async def other(value: int) -> None: ...

    with pytest.raises(ConfigurationError, match="two handlers are called 'same'"):
        HandlerRegistry([one, other])


async def test_a_handler_can_be_called_as_a_function() -> None:
    @job("plain")
    async def plain(value: int, context: JobContext | None = None) -> int:
        return value if context is None else 0

    assert await plain(3) == 3
