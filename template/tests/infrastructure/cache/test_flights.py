"""What happens while a value is computed: others who want it, failures, cancellation."""

from __future__ import annotations

import asyncio

import pytest

from app.infrastructure.cache import Cache
from app.infrastructure.cache.statistics import Happened
from tests.infrastructure.cache.conftest import Counted, MakeCache


class Slow:
    """Computes when it is let."""

    def __init__(self) -> None:
        self.calls = 0
        self.started = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        self.started.set()
        await self.go.wait()
        return number


async def test_callers_of_a_process_share_one_computation(cache: Cache) -> None:
    slow = Slow()
    asked = [asyncio.create_task(cache.get_or_set("s:1", slow, 60)) for _ in range(100)]
    async with asyncio.timeout(30):
        while cache.statistics.total(Happened.MISS) < 100:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    slow.go.set()

    assert await asyncio.gather(*asked) == [1] * 100
    assert slow.calls == 1
    assert cache.statistics.total(Happened.SHARED) == 99


async def test_callers_of_other_processes_wait_for_it(make_cache: MakeCache) -> None:
    one, other, slow, never = make_cache(), make_cache(), Slow(), Counted(0)
    first = asyncio.create_task(one.get_or_set("s:1", slow, 60))
    await slow.started.wait()
    second = asyncio.create_task(other.get_or_set("s:1", never, 60, model=int))
    await asyncio.sleep(0.1)
    assert not second.done()
    slow.go.set()

    assert await first == await second == 1
    assert never.calls == 0


async def test_who_waited_long_enough_computes_for_itself(make_cache: MakeCache) -> None:
    one, other, slow = make_cache(), make_cache(cache_wait=0.1), Slow()
    first = asyncio.create_task(one.get_or_set("s:1", slow, 60))
    await slow.started.wait()

    assert await other.get_or_set("s:1", Counted(7), 60, model=int) == 7
    slow.go.set()
    assert await first == 1
    assert await other.get("s:1", int) == 1  # the holder's value is the one that is kept


async def test_if_the_first_caller_is_cancelled_the_next_one_takes_over(cache: Cache) -> None:
    """A client that goes away does not take the others' answer along."""
    slow = Slow()
    asked = [asyncio.create_task(cache.get_or_set("s:1", slow, 60)) for _ in range(3)]
    await slow.started.wait()
    asked[0].cancel()
    slow.go.set()

    with pytest.raises(asyncio.CancelledError):
        await asked[0]
    assert await asyncio.gather(*asked[1:]) == [2, 2]
    assert slow.calls == 2


async def test_a_waiting_caller_that_is_cancelled_disturbs_nobody(cache: Cache) -> None:
    slow = Slow()
    asked = [asyncio.create_task(cache.get_or_set("s:1", slow, 60)) for _ in range(3)]
    await slow.started.wait()
    asked[1].cancel()
    await asyncio.sleep(0)
    slow.go.set()

    assert await asked[0] == await asked[2] == 1


async def test_a_failure_is_everybodys_and_frees_the_lock(make_cache: MakeCache) -> None:
    """It is not repeated for each who waits; the next caller tries again at once."""
    one, other, slow = make_cache(), make_cache(), Slow()
    calls = 0

    async def fail() -> int:
        nonlocal calls
        calls += 1
        await slow()
        raise ValueError(calls)

    asked = [asyncio.create_task(one.get_or_set("f:1", fail, 60)) for _ in range(5)]
    await slow.started.wait()
    await asyncio.sleep(0.05)
    slow.go.set()
    found = await asyncio.gather(*asked, return_exceptions=True)

    assert [str(error) for error in found] == ["1"] * 5
    async with asyncio.timeout(5):
        assert await other.get_or_set("f:1", Counted(7), 60, model=int) == 7


async def test_a_cancelled_computation_frees_the_lock(make_cache: MakeCache) -> None:
    one, other, slow = make_cache(), make_cache(), Slow()
    first = asyncio.create_task(one.get_or_set("s:1", slow, 60))
    await slow.started.wait()
    first.cancel()
    await asyncio.wait([first])

    async with asyncio.timeout(5):  # the lease is 10 s
        assert await other.get_or_set("s:1", Counted(7), 60, model=int) == 7


async def test_who_is_cancelled_before_its_value_is_kept_frees_the_lock(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where all connections of a pool are in use, and the value waits for one."""
    one, other, keeps = make_cache(), make_cache(), asyncio.Event()

    async def keep(*_: object, **__: object) -> bool:
        keeps.set()
        return await asyncio.Event().wait()

    monkeypatch.setattr(one._store, "keep", keep)
    first = asyncio.create_task(one.get_or_set("s:1", Counted(1), 60, model=int))
    await keeps.wait()
    first.cancel()
    await asyncio.wait([first])

    async with asyncio.timeout(5):  # the lease is 10 s
        assert await other.get_or_set("s:1", Counted(7), 60, model=int) == 7


async def test_an_old_value_is_given_while_a_new_one_is_computed(cache: Cache) -> None:
    slow = Slow()
    slow.go.set()
    assert await cache.get_or_set("s:1", slow, 0.1, stale=60) == 1
    await asyncio.sleep(0.15)
    slow.go.clear()

    found = [await cache.get_or_set("s:1", slow, 60, stale=60) for _ in range(3)]
    assert found == [1, 1, 1]
    await asyncio.sleep(0.05)
    assert slow.calls == 2
    slow.go.set()
    await asyncio.sleep(0.1)

    assert await cache.get_or_set("s:1", slow, 60, stale=60) == 2
    assert slow.calls == 2
    assert cache.statistics.total(Happened.STALE) == 3


async def test_one_process_of_all_computes_the_new_value(make_cache: MakeCache) -> None:
    caches, slow = [make_cache() for _ in range(3)], Slow()
    slow.go.set()
    await caches[0].get_or_set("s:1", slow, 0.05, stale=60)
    await asyncio.sleep(0.1)
    slow.go.clear()

    for cache in caches * 2:
        assert await cache.get_or_set("s:1", slow, 0.05, stale=60) == 1
    await asyncio.sleep(0.1)
    assert slow.calls == 2
    slow.go.set()


async def test_a_refresh_that_fails_leaves_the_old_value(cache: Cache) -> None:
    make = Counted(1)
    await cache.get_or_set("s:1", make, 0.05, stale=60, model=int)
    await asyncio.sleep(0.1)
    make.value = ValueError("broken")

    assert await cache.get_or_set("s:1", make, 0.05, stale=60, model=int) == 1
    await asyncio.sleep(0.1)
    assert await cache.get_or_set("s:1", make, 0.05, stale=60, model=int) == 1
    assert make.calls >= 2


async def test_what_is_too_old_is_computed_before_the_answer(cache: Cache) -> None:
    make = Counted(1)
    await cache.get_or_set("s:1", make, 0.05, stale=0.05, model=int)
    await asyncio.sleep(0.15)
    make.value = 2

    assert await cache.get_or_set("s:1", make, 0.05, stale=0.05, model=int) == 2


async def test_who_takes_no_old_value_gets_none(cache: Cache) -> None:
    """Though it is kept for others: an older version of the service, another place in it."""
    make = Counted(1)
    await cache.get_or_set("s:1", make, 0.05, stale=60, model=int)
    await asyncio.sleep(0.1)
    make.value = 2
    assert await cache.get_or_set("s:1", make, 0.05, stale=0.01, model=int) == 2
    await asyncio.sleep(0.1)
    make.value = 3

    assert await cache.get_or_set("s:1", make, 60, model=int) == 3
