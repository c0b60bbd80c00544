"""Ending tasks."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from app.core.tasks import end


async def test_a_task_that_loses_a_cancellation_is_ended() -> None:
    async def lose() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    task = asyncio.create_task(lose())
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await end(task)
    assert task.cancelled()


async def test_what_a_task_does_at_its_end_is_not_cut_short() -> None:
    """As one does that gives back what it holds, over a network."""
    said: list[str] = []

    async def hold() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.4)
            said.append("given back")

    task = asyncio.create_task(hold())
    await asyncio.sleep(0)
    await end(task)
    assert said == ["given back"]


async def test_an_error_at_the_end_is_not_that_of_who_ends_it() -> None:
    async def fail() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise LookupError

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await end(task)
    with pytest.raises(LookupError):
        task.result()
