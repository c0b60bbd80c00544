"""What `@compute` can be put on, what is found of it, and calls without a worker."""

from __future__ import annotations

import errno
import math
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from dishka import Provider, Scope
from redis.asyncio import Redis

from app.core.clock import ManualClock
from app.core.discovery import Registry
from app.core.errors import ConfigurationError
from app.core.module import Module
from app.core.settings import Weakness
from app.infrastructure.compute import NotStartedError, compute, operations
from app.infrastructure.compute.board import STALE, Board
from app.infrastructure.compute.catalog import find_methods
from app.infrastructure.compute.ownership import Ownership
from app.infrastructure.compute.settings import ComputeSettings
from app.infrastructure.queue import InvalidJobError, JobState
from app.infrastructure.redis import KeySpace
from tests.infrastructure.compute.conftest import Start, services
from tests.infrastructure.compute.services import BrokenError, LostError, Maths, Shape

SHAPE = Shape(3, Decimal("2.50"))


class Unwritable:
    """Nothing that JSON knows."""


def registry(*kinds: type) -> Registry:
    provider = Provider(scope=Scope.REQUEST)
    for kind in kinds:
        provider.provide(kind)
    return Registry((Module(name="probe", summary="Probe", providers=(provider,)),))


def test_methods_are_found_in_provided_classes() -> None:
    """By class and method; those of a base count for each class that has them."""
    names = [method.name for method in find_methods(_provided())]
    assert [name for name in names if name.startswith("Here")] == ["Here.is_it"]
    assert {"Maths.area", "Reports.area", "Reports.days", "old.name", "Reports.old.name"} < {*names}
    assert "Maths.plain" not in names


def test_what_can_t_travel_is_refused_at_the_start() -> None:
    class NoReturn:
        @compute()
        def work(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 - on purpose
            return None

    class NoParameter:
        @compute()
        def work(self, value) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - on purpose
            del value

    class Argument:
        @compute()
        def work(self, function: Unwritable) -> None:
            del function

    class Result:
        @compute()
        def work(self) -> Unwritable:
            raise AssertionError

    class Open:
        @compute(name="one")
        def work(self) -> None: ...

        @compute(name="one")
        def rest(self) -> None: ...

    wrong = {
        NoReturn: "annotate what it returns",
        NoParameter: "NoParameter.work can't have @compute: annotate its parameter 'value'",
        Argument: "Argument.work can't have @compute",
        Result: "JSON can't hold its result",
        Open: "two @compute methods are called 'one'",
    }
    for kind, message in wrong.items():
        with pytest.raises(ConfigurationError, match=message):
            find_methods(registry(kind))


def test_it_is_for_methods() -> None:
    """Properties, class methods and generators are refused where they are written."""

    def numbers(_: object) -> Iterator[int]:
        yield 1

    async def rows(_: object) -> AsyncIterator[int]:
        yield 1

    wrong: list[tuple[Any, str]] = [
        (property(lambda _: 1), "put it below other decorators"),
        (staticmethod(len), "put it below other decorators"),
        (numbers, "return a list instead"),
        (rows, "return a list instead"),
    ]
    for item, message in wrong:
        with pytest.raises(ConfigurationError, match=message):
            compute()(item)
    with pytest.raises(InvalidJobError, match="priority"):
        compute(priority=9)


async def test_outside_a_service_a_call_says_what_to_do() -> None:
    with pytest.raises(NotStartedError, match=r"Maths.area .* COMPUTE_INLINE=1"):
        await Maths().area(SHAPE)


@pytest.mark.usefixtures("inline")
async def test_in_place_without_a_service() -> None:
    """What waits is run; what does not has nobody to make a handle."""
    maths = Maths()
    assert await maths.area(SHAPE) == Decimal("7.50")
    assert maths.seen == 1
    with pytest.raises(NotStartedError):
        await maths.later(1)


@pytest.mark.usefixtures("inline")
async def test_in_place_in_a_service(start: Start) -> None:
    """On the object itself; arguments, results, handles and errors as with workers."""
    async with start(work=False) as service:
        maths = service.maths
        assert await maths.area(SHAPE) == Decimal("7.50")
        assert maths.seen == 1
        assert await maths.echo(b"\x00", 1.0) == {"raw": b"\x00", "ratio": 1.0}
        handle = await maths.later(1)
        assert await handle.result() == 2
        assert (await handle.state(), await handle.cancel()) == (JobState.COMPLETED, False)
        with pytest.raises(LostError):
            await maths.lose("it")
        with pytest.raises(BrokenError):
            await maths.break_()
        with pytest.raises(TypeError, match="did not return what it says"):
            await maths.lie()
        with pytest.raises(TypeError, match="does not survive"):
            await maths.echo(b"", math.nan)
        assert await service.jobs.engine.queues() == []


async def test_the_service_started_last_is_asked_and_none_after_its_end(start: Start) -> None:
    async with start(work=False) as outer:
        async with start(work=False) as inner:
            await outer.maths.later(1)
            assert len(inner.jobs.events) == 1
        await inner.maths.later(1)
        assert len(outer.jobs.events) == 1
    with pytest.raises(NotStartedError):
        await outer.maths.later(1)


def test_a_deployed_service_does_not_compute_in_its_event_loop() -> None:
    assert list(ComputeSettings(compute_inline=False).weaknesses()) == []
    (found,) = ComputeSettings(compute_inline=True).weaknesses()
    assert isinstance(found, Weakness)
    assert found.fix == "COMPUTE_INLINE=false"


def test_the_minimum_is_not_above_the_maximum() -> None:
    with pytest.raises(ValueError, match="raise COMPUTE_MAX_WORKERS"):
        ComputeSettings(compute_min_workers=3, compute_max_workers=2)
    assert ComputeSettings(compute_min_workers=99).max_workers == 99
    assert ComputeSettings(compute_max_workers=5).max_workers == 5


def test_one_process_of_a_machine_has_the_pool() -> None:
    """Until it gives it back; another service has its own."""
    first, second, other = Ownership("a"), Ownership("a"), Ownership("b")
    assert first.take()
    assert first.take()
    assert not second.take()
    assert other.take()
    first.give_back()
    assert second.take()
    for one in (first, second, other):
        one.give_back()


def test_where_nothing_can_be_locked_each_process_has_a_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as where temporary files are on NFS without a lock daemon; it is said."""

    def no_locks(_file: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", no_locks)
    first, second = Ownership("a"), Ownership("a")
    assert first.take()
    assert second.take()


async def test_what_a_pool_says_of_itself_does_not_outlive_it(redis: Redis, keys: KeySpace) -> None:
    """Also where nobody ever looks at the board."""
    clock = ManualClock(current=datetime.now(UTC))
    board = Board(redis, keys, clock)
    await board.post(board.blank())
    assert 0 < await redis.pttl(keys("compute", "pools")) <= STALE.total_seconds() * 1000
    assert len(await board.read()) == 1
    clock.advance(STALE)
    assert await board.read() == []


def test_methods_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With signatures and options; and when there are none, what to do."""
    monkeypatch.setattr(operations, "discover", _provided)
    text = operations.methods(as_json=False)
    assert (
        "Maths.area(shape: Shape, *, times: int = 1) -> Decimal"
        "  # waits; queue compute, priority 1, 3 attempts, 300 s"
    ) in text.splitlines()
    assert '"name": "Maths.later"' in operations.methods(as_json=True)
    monkeypatch.setattr(operations, "discover", lambda: Registry(()))
    assert operations.methods(as_json=False) == operations.NO_METHODS


def _provided() -> Registry:
    return Registry((Module(name="probe", summary="Probe", providers=(services(),)),))
