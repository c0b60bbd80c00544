"""Work that another transaction was in the way of is done again, for a while."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator

import pytest
from dishka import Provider, Scope, make_async_container

from app.core import transient
from app.core.container import WorkScope
from app.core.errors import AppError
from app.core.transient import FEWEST, LONGEST_PAUSE, Repeats

pytestmark = pytest.mark.anyio


class InTheWayError(AppError):
    """Another transaction was in the way."""

    transient = True


class Rows:
    """What is committed at the end of a scope."""


async def rows() -> AsyncIterator[Rows]:
    yield Rows()
    raise InTheWayError from KeyError("the driver's")


def scope() -> WorkScope:
    provider = Provider(scope=Scope.REQUEST)
    provider.provide(rows)
    return WorkScope(make_async_container(provider))


def test_pauses_grow_up_to_a_longest_one() -> None:
    repeats = Repeats()
    pauses = [repeats.pause_after(InTheWayError()) or 0 for _ in range(40)]

    assert 0 < pauses[0] < pauses[2] < pauses[4]
    assert LONGEST_PAUSE / 2 <= min(pauses[10:]) <= max(pauses) <= LONGEST_PAUSE


def test_other_errors_are_failures() -> None:
    assert Repeats().pause_after(AppError()) is None
    assert Repeats().pause_after(OSError()) is None


def test_patience_counts_from_the_first_time_and_is_for_a_few_at_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long each of them has waited for its turn."""
    monkeypatch.setattr(transient, "PATIENCE", 0.0)
    repeats = Repeats()
    pauses = [repeats.pause_after(InTheWayError()) for _ in range(FEWEST + 2)]

    assert [pause is None for pause in pauses] == [False] * FEWEST + [True] * 2


async def test_a_scope_ends_with_the_error_of_its_commit() -> None:
    with pytest.raises(InTheWayError):
        async with scope() as inside:
            await inside.get(Rows)


async def test_the_error_of_a_commit_keeps_its_cause() -> None:
    """It goes to the log and into the job's traceback."""
    with pytest.raises(InTheWayError) as caught:
        async with scope() as inside:
            await inside.get(Rows)

    written = "".join(traceback.format_exception(caught.value))
    assert "the driver's" in written
    assert "ExitError" not in written


class File:
    """Ends without delay."""


class Connection:
    """Hangs when it ends, as one does whose server is gone."""


async def test_what_is_cancelled_while_it_ends_keeps_nothing_open() -> None:
    closed: list[str] = []
    ending = asyncio.Event()

    async def file() -> AsyncIterator[File]:
        yield File()
        closed.append("file")

    async def connection(_file: File) -> AsyncIterator[Connection]:
        yield Connection()
        ending.set()
        await asyncio.sleep(60)

    provider = Provider(scope=Scope.REQUEST)
    provider.provide(file)
    provider.provide(connection)

    async def work() -> None:
        async with WorkScope(make_async_container(provider)) as inside:
            await inside.get(Connection)

    task = asyncio.create_task(work())
    await ending.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed == ["file"]


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
