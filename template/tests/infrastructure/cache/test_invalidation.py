"""After an invalidation nobody gets what was computed before it."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from app.infrastructure.cache import Cache
from app.infrastructure.cache.names import Names
from app.infrastructure.cache.statistics import Happened
from app.infrastructure.redis import KeySpace
from tests.infrastructure.cache.conftest import Counted, MakeCache
from tests.infrastructure.cache.test_flights import Slow


async def fill(cache: Cache) -> None:
    for key, tags in (("user:1", ["team:a"]), ("user:1:posts", ["team:b"]), ("users:1", [])):
        await cache.get_or_set(key, Counted(key), 60, model=str, tags=tags)


async def kept(cache: Cache) -> set[str]:
    """Return which of them are still there."""
    found = set()
    for key, tags in (("user:1", ["team:a"]), ("user:1:posts", ["team:b"]), ("users:1", [])):
        make = Counted(key)
        await cache.get_or_set(key, make, 60, model=str, tags=tags)
        if not make.calls:
            found.add(key)
    return found


async def test_a_key_takes_along_what_is_below_it(cache: Cache) -> None:
    await fill(cache)
    await cache.delete("user:1")
    assert await kept(cache) == {"users:1"}


async def test_a_tag_takes_what_has_it(cache: Cache) -> None:
    await fill(cache)
    await cache.invalidate(tags=["team:b"])
    assert await kept(cache) == {"user:1", "users:1"}


async def test_a_prefix_is_whole_parts(cache: Cache) -> None:
    await fill(cache)
    await cache.invalidate(prefix="user")
    assert await kept(cache) == {"users:1"}
    await cache.invalidate(prefix="use")
    assert await kept(cache) == {"user:1", "user:1:posts", "users:1"}


async def test_a_tag_and_a_prefix_of_one_name_are_two_things(cache: Cache) -> None:
    await fill(cache)
    await cache.invalidate(tags=["user"], prefix="team")
    assert await kept(cache) == {"user:1", "user:1:posts", "users:1"}


async def test_clear_takes_everything(cache: Cache) -> None:
    await fill(cache)
    await cache.clear()
    assert await kept(cache) == set()


async def test_one_must_say_what(cache: Cache) -> None:
    with pytest.raises(ValueError, match="say what"):
        await cache.invalidate()


async def test_it_reaches_other_processes(make_cache: MakeCache) -> None:
    one, other = make_cache(), make_cache()
    await fill(one)
    await other.invalidate(tags=["team:a"])
    assert await kept(one) == {"user:1:posts", "users:1"}


async def test_what_was_begun_before_it_is_not_kept(cache: Cache) -> None:
    """The classic race: read, change, invalidate, and then the old value is stored."""
    slow = Slow()
    old = asyncio.create_task(cache.get_or_set("r:1", slow, 60, tags=["t"]))
    await slow.started.wait()
    await cache.invalidate(tags=["t"])
    slow.go.set()

    assert await old == 1
    assert await cache.get_or_set("r:1", slow, 60, tags=["t"]) == 2


@pytest.mark.parametrize("same_process", [True, False])
async def test_who_comes_after_it_does_not_wait_for_what_was_begun_before(
    make_cache: MakeCache, *, same_process: bool
) -> None:
    """It computes anew at once, and its value stays, though the old one ends later."""
    one = make_cache()
    other = one if same_process else make_cache()
    slow = Slow()
    old = asyncio.create_task(one.get_or_set("r:1", slow, 60))
    await slow.started.wait()
    await other.delete("r:1")

    assert await other.get_or_set("r:1", Counted(7), 60, model=int) == 7
    slow.go.set()
    assert await old == 1
    assert await one.get_or_set("r:1", Counted(0), 60, model=int) == 7
    assert one.statistics.total(Happened.OUTDATED) == 1


async def test_a_value_that_is_set_beats_one_that_is_being_computed(cache: Cache) -> None:
    slow = Slow()
    old = asyncio.create_task(cache.get_or_set("r:1", slow, 60))
    await slow.started.wait()
    await cache.set("r:1", 7, 60, model=int)
    slow.go.set()

    assert await old == 1
    assert await cache.get("r:1", int) == 7


async def test_it_ends_a_refresh_in_the_background_too(cache: Cache) -> None:
    slow = Slow()
    slow.go.set()
    await cache.get_or_set("r:1", slow, 0.05, stale=60)
    await asyncio.sleep(0.1)
    slow.go.clear()
    slow.started.clear()
    assert await cache.get_or_set("r:1", slow, 60, stale=60) == 1  # and a refresh begins
    await slow.started.wait()
    await cache.delete("r:1")
    slow.go.set()
    await asyncio.sleep(0.1)

    assert await cache.get_or_set("r:1", Counted(7), 60, stale=60, model=int) == 7


@pytest.mark.parametrize("lost", ["everything", "path", "tag"])
async def test_a_stamp_that_was_evicted_is_an_invalidation(
    cache: Cache, redis: Redis, keys: KeySpace, lost: str
) -> None:
    """A server that throws keys away can't bring back what was invalidated."""
    names = Names(keys)
    stamp = {
        "everything": names.everything,
        "path": names.path("r:1"),
        "tag": names.tag("t"),
    }[lost]
    await cache.get_or_set("r:1", Counted(1), 60, model=int, tags=["t"])
    assert await redis.delete(stamp) == 1

    assert await cache.get_or_set("r:1", Counted(2), 60, model=int, tags=["t"]) == 2
    assert await cache.get_or_set("r:1", Counted(3), 60, model=int, tags=["t"]) == 2


async def test_invalidating_costs_the_same_however_many_entries_there_are(
    cache: Cache, redis: Redis
) -> None:
    """No KEYS, no SCAN: one command, whose work is its stamps."""
    for number in range(50):
        await cache.get_or_set(f"n:{number}", Counted(1), 60, model=int, tags=["all"])
    assert await cache.get("n:7", int, tags=["all"]) == 1
    await redis.config_resetstat()
    await cache.invalidate(tags=["all"])

    done = await redis.info("commandstats")
    asked = {name: stats["calls"] for name, stats in done.items() if "info" not in name}
    asked.pop("cmdstat_config|resetstat", None)
    assert sum(asked.get(name, 0) for name in ("cmdstat_evalsha", "cmdstat_eval")) <= 2
    assert asked["cmdstat_set"] == 1
    assert not {name for name in asked if "scan" in name or "keys" in name}
    assert await cache.get("n:7", int, tags=["all"]) is None
