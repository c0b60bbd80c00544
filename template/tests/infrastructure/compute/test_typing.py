"""What type checkers say: a call site sees the method's own types, to be awaited.

Never run. Each `ignore` is an assertion: mypy and pyright are told to complain about one that is
not needed.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import assert_type

from app.infrastructure.compute import compute
from app.infrastructure.queue import JobHandle
from tests.infrastructure.compute.services import Maths, Reports, Shape


class Generic:
    @compute(wait=True, priority=2, attempts=1, timeout=None, queue="video")
    async def first(self, values: list[int], *, start: int = 0) -> int | None:
        return values[start] if values else None

    @compute(wait=False, timeout=timedelta(minutes=1))
    def leave(self, word: str) -> str:
        return word


async def right(maths: Maths, generic: Generic) -> None:
    """Sync and async methods are awaited; a handle knows the type of the result."""
    shape = Shape(1, Decimal(2))
    assert_type(await maths.area(shape, times=2), Decimal)
    assert_type(await Reports().area(shape), Decimal)
    assert_type(await generic.first([1], start=0), int | None)
    assert_type(await maths.later(1), JobHandle[int])
    assert_type(await (await maths.later(1)).result(timeout=1), int)
    assert_type(await generic.leave("x"), JobHandle[str])
    assert_type(await (await generic.leave("x")).result(), str)


async def wrong(maths: Maths, generic: Generic) -> None:
    """Arguments are checked as ever; forgetting to await is noticed where the result is used."""
    shape = Shape(1, Decimal(2))
    await maths.area(3)  # type: ignore[arg-type]
    await maths.area()  # type: ignore[call-arg]
    await maths.area(shape, time=2)  # type: ignore[call-arg]
    await maths.area(shape, 2)  # type: ignore[call-arg]
    maths.area(shape) + 1  # type: ignore[operator]
    (await maths.later(1)) + 1  # type: ignore[operator]
    await generic.leave(7)  # type: ignore[arg-type]
    compute(wait="no")  # type: ignore[call-overload]
    compute(retries=3)  # type: ignore[call-overload]
    compute(timeout=5)  # type: ignore[call-overload]
