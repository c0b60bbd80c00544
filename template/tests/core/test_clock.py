"""A manual clock moves only when told to."""

from __future__ import annotations

from datetime import UTC, timedelta

from app.core.clock import ManualClock, SystemClock


def test_advance_moves_both_readings() -> None:
    clock = ManualClock()
    before = clock.now(), clock.monotonic()

    clock.advance(timedelta(minutes=1))

    assert (clock.now() - before[0], clock.monotonic() - before[1]) == (timedelta(minutes=1), 60.0)


def test_the_system_clock_is_aware_and_never_goes_back() -> None:
    clock = SystemClock()

    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()
