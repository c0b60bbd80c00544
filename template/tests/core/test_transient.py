"""Work that another transaction was in the way of is done again, for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from dishka import Provider, Scope, make_async_container

from app.core.container import WorkScope
from app.core.errors import AppError
from app.core.transient import LONGEST_PAUSE, PATIENCE, pause_before_repeat

pytestmark = pytest.mark.anyio


class InTheWayError(AppError):
    """Another transaction was in the way."""

    transient = True


class Rows:
    """What is committed at the end of a scope."""


async def rows() -> AsyncIterator[Rows]:
    yield Rows()
    raise InTheWayError


def scope() -> WorkScope:
    provider = Provider(scope=Scope.REQUEST)
    provider.provide(rows)
    return WorkScope(make_async_container(provider))


def test_pauses_grow_up_to_a_longest_one() -> None:
    pauses = [pause_before_repeat(InTheWayError(), time.monotonic(), i) or 0 for i in range(40)]

    assert 0 < pauses[0] < pauses[2] < pauses[4]
    assert LONGEST_PAUSE / 2 <= min(pauses[10:]) <= max(pauses) <= LONGEST_PAUSE


def test_other_errors_and_late_ones_are_failures() -> None:
    now = time.monotonic()

    assert pause_before_repeat(AppError(), now, 0) is None
    assert pause_before_repeat(OSError(), now, 0) is None
    assert pause_before_repeat(InTheWayError(), now - PATIENCE - 1, 0) is None


async def test_a_scope_ends_with_the_error_of_its_commit() -> None:
    with pytest.raises(InTheWayError):
        async with scope() as inside:
            await inside.get(Rows)


async def test_the_error_of_the_work_comes_first() -> None:
    with pytest.raises(KeyError):
        async with scope() as inside:
            await inside.get(Rows)
            raise KeyError


async def test_a_cancelled_scope_is_cancelled_whatever_its_end_meets() -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with scope() as inside:
            await inside.get(Rows)
            entered.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
