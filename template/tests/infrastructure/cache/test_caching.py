"""What is kept, for how long, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from redis.asyncio import Redis

from app.core.errors import NotFoundError
from app.infrastructure.cache import Cache, Codec, UncacheableError
from app.infrastructure.cache.codec import codec_of
from app.infrastructure.cache.plan import returned
from app.infrastructure.cache.statistics import CacheStatistics, Happened
from app.infrastructure.redis import KeySpace
from tests.infrastructure.cache.conftest import Counted, MakeCache


class Colour(Enum):
    RED = "red"


class Profile(BaseModel):
    """Holds what JSON does not know by itself."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    id: UUID
    born: datetime
    money: Decimal
    photo: bytes
    colour: Colour
    tags: set[str]
    name: str = Field(alias="displayName")


class Login(BaseModel):
    name: str
    digest: str = Field(default="", exclude=True)


PROFILE = Profile(
    id=uuid4(),
    born=datetime(1815, 12, 10, tzinfo=UTC),
    money=Decimal("1.10"),
    photo=b"\xff\x00",
    colour=Colour.RED,
    tags={"a", "b"},
    displayName="Ada",
)


async def test_a_value_is_computed_once_and_comes_back_as_it_was(cache: Cache) -> None:
    make = Counted(PROFILE)

    found = [await cache.get_or_set("profile:1", make, 60, model=Profile) for _ in range(3)]

    assert found == [PROFILE] * 3
    assert make.calls == 1


async def test_each_caller_has_an_object_of_its_own(cache: Cache) -> None:
    """Who changes it does not change that of others, also if they waited for one computation."""
    make = Counted({"n": 1})

    first, second = await asyncio.gather(
        *(cache.get_or_set("shared:1", make, 60, model=dict[str, int]) for _ in range(2))
    )
    first["n"] = 2

    assert second == {"n": 1}
    assert make.calls == 1


async def test_a_life_ends(cache: Cache) -> None:
    make = Counted()

    await cache.get_or_set("short:1", make, 0.05, model=str)
    await asyncio.sleep(0.1)
    await cache.get_or_set("short:1", make, 0.05, model=str)

    assert make.calls == 2


async def test_lives_are_shortened_at_random(
    make_cache: MakeCache, redis: Redis, keys: KeySpace
) -> None:
    cache = make_cache(cache_jitter=0.5)
    for number in range(20):
        await cache.get_or_set(f"many:{number}", Counted(), 100, model=str)

    lives = [
        await redis.pttl(key)
        async for key in redis.scan_iter(match=f"{keys.prefix}:{{many:*")
        if not key.endswith("stamp")
    ]

    assert len(lives) == 20
    assert all(49_000 < life <= 100_000 for life in lives)
    assert max(lives) - min(lives) > 5_000


async def test_no_key_is_without_expiry(cache: Cache, redis: Redis, keys: KeySpace) -> None:
    await cache.get_or_set("a:1", Counted(), 60, model=str, tags=["t"])
    await cache.invalidate(tags=["u"], prefix="b")
    await cache.clear()

    lives = [await redis.pttl(key) async for key in redis.scan_iter(match=f"{keys.prefix}:*")]

    assert len(lives) >= 5
    assert all(life > 0 for life in lives)


async def test_another_schema_is_a_miss_and_no_error(cache: Cache) -> None:
    class Before(BaseModel):
        name: str

    class After(BaseModel):
        name: str
        age: int

    await cache.get_or_set("row:1", Counted(Before(name="Ada")), 60, model=Before)
    found = await cache.get_or_set("row:1", Counted(After(name="Ada", age=36)), 60, model=After)

    assert found == After(name="Ada", age=36)
    # Both live side by side while a deployment rolls; invalidating reaches both.
    assert await cache.get("row:1", Before) == Before(name="Ada")
    await cache.delete("row:1")
    assert await cache.get("row:1", Before) is None
    assert await cache.get("row:1", After) is None


async def test_an_entry_that_cannot_be_read_is_computed_again(
    cache: Cache, redis: Redis, keys: KeySpace
) -> None:
    make = Counted(7)
    await cache.get_or_set("n:1", make, 60, model=int)
    name = keys.tagged("n:1", "cache", Codec[int](int).fingerprint)
    raw = str(await redis.get(name))
    await redis.set(name, raw[:30] + "[rubbish", px=60_000)

    assert await cache.get_or_set("n:1", make, 60, model=int) == 7
    assert await cache.get_or_set("n:1", make, 60, model=int) == 7
    assert await cache.get_or_set("n:1", make, 60, model=int) == 7
    assert make.calls == 3  # the one that met it, the one that kept it anew
    assert cache.statistics.total(Happened.ERROR) == 1


async def test_get_set_and_delete(cache: Cache) -> None:
    assert await cache.get("k:1", int) is None
    await cache.set("k:1", 7, 60, model=int)
    assert await cache.get("k:1", int) == 7
    await cache.set("k:1", 8, 60, model=int)
    assert await cache.get_or_set("k:1", Counted(0), 60, model=int) == 8
    await cache.delete("k:1")
    assert await cache.get("k:1", int) is None


async def test_tags_are_part_of_how_a_value_is_found(cache: Cache) -> None:
    await cache.set("k:1", 7, 60, model=int, tags=["b", "a"])

    assert await cache.get("k:1", int, tags=["a", "b"]) == 7
    assert await cache.get("k:1", int, tags=["a"]) is None
    await cache.invalidate(tags=["a"])
    assert await cache.get("k:1", int, tags=["a", "b"]) is None


@pytest.mark.parametrize("value", [None, NotFoundError("no such user")])
async def test_that_there_is_none_is_not_kept_unless_asked(cache: Cache, value: Any) -> None:
    make = Counted(value)

    async def ask() -> Any:
        try:
            return await cache.get_or_set("none:1", make, 60, model=str)
        except NotFoundError as error:
            return error.detail

    assert await ask() == await ask() == (value.detail if value else None)
    assert make.calls == 2


class UnknownUserError(NotFoundError):
    """There is no such user."""

    def __init__(self, number: int) -> None:
        super().__init__(f"no user {number}", user=number)


@pytest.mark.parametrize("value", [None, UnknownUserError(7)])
async def test_that_there_is_none_is_kept_for_its_own_time(cache: Cache, value: Any) -> None:
    """The error comes back as the class it was, with all it says."""
    make = Counted(value)

    async def ask() -> Any:
        try:
            return await cache.get_or_set("none:1", make, 60, model=str, negative_ttl=0.3)
        except UnknownUserError as error:
            return error.detail, error.extensions

    expected = ("no user 7", {"user": 7}) if value else None
    assert await ask() == expected
    assert await ask() == expected
    assert make.calls == 1
    await asyncio.sleep(0.4)
    assert await ask() == expected
    assert make.calls == 2


async def test_other_errors_are_never_kept(cache: Cache) -> None:
    make = Counted(ValueError("broken"))

    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await cache.get_or_set("e:1", make, 60, model=str, negative_ttl=60)

    assert make.calls == 2


async def test_a_value_that_is_not_what_its_type_says_is_handed_on_and_not_kept(
    cache: Cache, lines: Callable[[], list[str]]
) -> None:
    """That is said once, not at every call."""
    make = Counted("text")

    assert await cache.get_or_set("w:1", make, 60, model=int) == "text"  # type: ignore[comparison-overlap]
    assert await cache.get_or_set("w:1", make, 60, model=int) == "text"  # type: ignore[comparison-overlap]
    assert make.calls == 2
    assert cache.statistics.total(Happened.ERROR) == 2
    assert [line for line in lines() if "not kept" in line] == [
        "w is not kept by the cache, it is not what its type says or no JSON: Expected `int`"
    ]


async def test_a_field_that_json_leaves_out_is_not_lost(
    cache: Cache, lines: Callable[[], list[str]]
) -> None:
    make = Counted([Login(name="ada", digest="5f1c")])

    for _ in range(2):
        assert await cache.get_or_set("l:1", make, 60, model=list[Login]) == make.value
    assert make.calls == 2
    assert sum("not kept" in line and "exclude=True" in line for line in lines()) == 1


@pytest.mark.parametrize(
    ("model", "reason"),
    [(None, "does not say what it returns"), (object, "JSON"), (SecretStr, "stars")],
)
async def test_types_json_cannot_hold_are_refused(cache: Cache, model: Any, reason: str) -> None:
    async def silent():  # type: ignore[no-untyped-def]  # noqa: ANN202 - that is the point
        return 1

    class Strange:
        pass

    with pytest.raises(UncacheableError, match=reason):
        if model is None:
            await cache.get_or_set("t:1", silent, 60)
        await cache.get_or_set("t:1", Counted(), 60, model=Strange if model is object else model)


@pytest.mark.parametrize("key", ["", ":", "a::b", "a:", ":a", "a" * 1_001, ":".join("a" * 13)])
async def test_keys_that_are_no_paths_are_refused(cache: Cache, key: str) -> None:
    with pytest.raises(ValueError, match="key of the cache"):
        await cache.get_or_set(key, Counted(), 60, model=str)


@pytest.mark.parametrize("key", ["{}x", "}{", "ü:1", "a b", "n" * 900, "\udcff", "a\n:b"])
async def test_any_other_key_will_do(cache: Cache, key: str) -> None:
    make = Counted()
    for _ in range(2):
        assert await cache.get_or_set(key, make, 60, model=str) == "value"
    assert make.calls == 1
    await cache.delete(key)
    assert await cache.get(key, str) is None


@pytest.mark.parametrize(
    "changes", [{"ttl": 0}, {"ttl": -1}, {"ttl": 1, "stale": -1}, {"ttl": 1, "negative_ttl": 0}]
)
async def test_times_that_make_no_sense_are_refused(cache: Cache, changes: Any) -> None:
    with pytest.raises(ValueError, match="seconds"):
        await cache.get_or_set("t:1", Counted(), model=str, **changes)


async def test_switched_off_it_computes(
    make_cache: MakeCache, redis: Redis, keys: KeySpace
) -> None:
    cache, make = make_cache(enable_cache=False), Counted()

    for _ in range(2):
        assert await cache.get_or_set("k:1", make, 60, model=str) == "value"
    await cache.set("k:1", "x", 60, model=str)

    assert await cache.get("k:1", str) is None
    assert make.calls == 2
    assert [key async for key in redis.scan_iter(match=f"{keys.prefix}:*")] == []


async def test_the_type_is_that_of_the_factory(cache: Cache) -> None:
    async def days() -> list[timedelta]:
        return [timedelta(days=1)]

    assert await cache.get_or_set("d:1", days, 60) == [timedelta(days=1)]
    assert await cache.get_or_set("d:1", days, 60) == [timedelta(days=1)]


async def test_a_type_is_read_once_however_often_a_factory_is_given(cache: Cache) -> None:
    """A function inside a route is another one at each request; its schema takes milliseconds."""

    def in_route() -> Callable[[], Awaitable[Profile]]:
        async def read() -> Profile:
            return PROFILE

        return read

    assert returned(in_route()) is returned(in_route())
    assert codec_of(list[int]) is codec_of(list[int])
    noted: Any = Annotated[int, {"not": "hashable"}]
    assert await cache.get_or_set("n:1", Counted(1), 60, model=noted) == 1


async def test_what_happens_is_counted(cache: Cache) -> None:
    for _ in range(3):
        await cache.get_or_set("user:1", Counted(), 60, model=str)

    assert cache.statistics.counts["user", Happened.HIT] == 2
    assert cache.statistics.counts["user", Happened.MISS] == 1
    assert cache.statistics.hit_ratio == pytest.approx(2 / 3)


def test_counts_are_delivered_once_and_taken_back() -> None:
    counts = CacheStatistics()
    counts.count("a", Happened.HIT)
    taken = counts.take()
    assert taken == {"a|hits": 1}
    assert counts.take() == {}
    counts.give_back(taken)
    counts.count("a", Happened.HIT)
    assert counts.take() == {"a|hits": 2}
