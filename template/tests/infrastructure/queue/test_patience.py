"""What is said of a broker that is away, apart from any engine."""

from __future__ import annotations

import asyncio

from app.infrastructure.logger.testing import LogLines
from app.infrastructure.queue.patience import Patience

PATIENCE = 20.0
AWAY = ConnectionError("away")


def told(log_lines: LogLines, what: str) -> list[str]:
    """Return what everybody can read of a loop."""
    everybody = [line for line in log_lines if line["level"] in {"INFO", "WARNING"}]
    return [line["message"] for line in everybody if line["message"].startswith(what)]


async def test_an_outage_that_begins_right_after_another_one_is_told(log_lines: LogLines) -> None:
    """Though there may be no line for it at first."""
    first, second = Patience("first"), Patience("second")
    await first.pause(AWAY)
    first.answered()
    async with asyncio.timeout(PATIENCE):
        while not told(log_lines, "second"):
            await second.pause(AWAY)
    second.answered()
    assert len(told(log_lines, "first")) == 2
    assert len(told(log_lines, "second")) == 2


async def test_an_outage_is_told_by_one_of_those_who_notice_it(log_lines: LogLines) -> None:
    """However long it is."""
    loops = [Patience(f"loop {number}") for number in range(20)]
    for _ in range(3):
        await asyncio.gather(*(loop.pause(AWAY) for loop in loops))
    for loop in loops:
        loop.answered()
    assert len(told(log_lines, "loop")) == 2
