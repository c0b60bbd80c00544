"""What many tasks write leaves together, and waits for no more than a moment."""

from __future__ import annotations

import asyncio

import pytest

from app.infrastructure.redis import gathering
from app.infrastructure.redis.gathering import Gatherer

pytestmark = pytest.mark.anyio


async def test_what_is_written_in_one_turn_leaves_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "LONGEST_HOLD", 60.0)
    written: list[list[bytes]] = []
    gatherer = Gatherer(asyncio.get_running_loop(), written.append)

    for turn in (b"abc", b"de"):
        for letter in turn:
            gatherer.add(bytes([letter]))
        await asyncio.sleep(0)

    assert written == [[b"a", b"b", b"c"], [b"d", b"e"]]


async def test_what_is_held_for_long_leaves_before_the_turn_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While tasks run that take long, who reads it can begin."""
    monkeypatch.setattr(gathering, "LONGEST_HOLD", 0.0)
    written: list[list[bytes]] = []
    gatherer = Gatherer(asyncio.get_running_loop(), written.append)

    for letter in b"abcde":
        gatherer.add(bytes([letter]))
    assert written == [[b"a", b"b"], [b"c", b"d"]]

    await asyncio.sleep(0)
    assert written == [[b"a", b"b"], [b"c", b"d"], [b"e"]]
