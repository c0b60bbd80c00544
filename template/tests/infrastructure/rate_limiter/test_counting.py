"""What a counter admits: the same in Redis and in memory."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from app.infrastructure.rate_limiter.memory import MemoryStore
from app.infrastructure.rate_limiter.rates import MICROSECONDS, Algorithm, Policy, Rate
from app.infrastructure.rate_limiter.script import NUMBERS, SCRIPT
from app.infrastructure.rate_limiter.store import Hit, Store
from app.infrastructure.redis import KeySpace
from tests.infrastructure.rate_limiter.conftest import PATIENCE, all_keys, redis_store

EVERY = list(Algorithm)
each_algorithm = pytest.mark.parametrize("algorithm", EVERY, ids=[a.value for a in EVERY])


def hit(keys: KeySpace, policy: Policy, name: str = "a", cost: int = 1) -> Hit:
    return Hit(policy, keys.tagged(name, policy.kind), cost)


async def admitted(store: Store, hits: Sequence[Hit], tries: int) -> int:
    return sum([all(v.fits for v in await store.hit(hits)) for _ in range(tries)])


@each_algorithm
async def test_as_many_as_the_quota_pass_and_no_more(
    store: Store, keys: KeySpace, algorithm: Algorithm
) -> None:
    policy = Policy("p", Rate(5, 60), algorithm)

    began = time.monotonic()
    left = [(await store.hit([hit(keys, policy)]))[0].left for _ in range(5)]
    (refused,) = await store.hit([hit(keys, policy)])
    took = math.ceil((time.monotonic() - began) * 1000)

    assert left == [4, 3, 2, 1, 0]
    assert not refused.fits
    assert refused.left == 0
    # A token comes back after a fifth of the minute, a window ends as a whole.
    most = 12_000 if algorithm is Algorithm.TOKEN_BUCKET else 60_000
    assert most - took - 100 <= refused.wait <= most  # clocks differ a little
    assert refused.ends == refused.wait


@each_algorithm
async def test_there_is_room_again_when_it_said_so(
    store: Store, keys: KeySpace, algorithm: Algorithm
) -> None:
    policy = Policy("p", Rate(2, 1), algorithm)
    while (refused := (await store.hit([hit(keys, policy)]))[0]).fits:
        pass  # on a slow machine there may be room again before it is full

    await asyncio.sleep(refused.wait / 1000)

    assert await admitted(store, [hit(keys, policy)], 1) == 1


@each_algorithm
async def test_callers_are_counted_apart(
    store: Store, keys: KeySpace, algorithm: Algorithm
) -> None:
    policy = Policy("p", Rate(2, 60), algorithm)

    assert await admitted(store, [hit(keys, policy, "a")], 3) == 2
    assert await admitted(store, [hit(keys, policy, "b")], 3) == 2


@each_algorithm
async def test_a_request_may_count_as_several(
    store: Store, keys: KeySpace, algorithm: Algorithm
) -> None:
    policy = Policy("p", Rate(7, 60), algorithm)

    assert await admitted(store, [hit(keys, policy, cost=3)], 4) == 2
    assert await admitted(store, [hit(keys, policy)], 2) == 1


async def test_a_request_that_one_limit_refuses_is_counted_by_none(
    store: Store, keys: KeySpace
) -> None:
    wide = [hit(keys, Policy("wide", Rate(10, 60), algorithm)) for algorithm in EVERY]
    narrow = hit(keys, Policy("narrow", Rate(3, 60)))

    assert await admitted(store, [*wide, narrow], 8) == 3

    *others, refusing = await store.hit([*wide, narrow])
    assert [(v.fits, v.left) for v in others] == [(True, 7)] * 3
    assert (refusing.fits, refusing.left) == (False, 0)


async def test_a_bucket_takes_its_burst_and_then_its_rate(store: Store, keys: KeySpace) -> None:
    policy = Policy("p", Rate(20, 1), Algorithm.TOKEN_BUCKET, burst=10)
    began = time.monotonic()

    assert await admitted(store, [hit(keys, policy)], 10) == 10
    passed = 10
    async with asyncio.timeout(PATIENCE):
        while passed < 20:
            passed += await admitted(store, [hit(keys, policy)], 1)
            await asyncio.sleep(0.005)

    assert passed <= 10 + math.floor((time.monotonic() - began) * 20)


async def test_a_sliding_window_never_holds_more_than_its_quota(
    store: Store, keys: KeySpace
) -> None:
    """Wherever it begins; a fixed one would let twice as many pass around its end."""
    policy = Policy("p", Rate(10, 1), Algorithm.SLIDING_WINDOW)
    sent: list[float] = []
    answered: list[float] = []
    async with asyncio.timeout(PATIENCE):
        while len(sent) < 25:
            before = time.monotonic()
            if await admitted(store, [hit(keys, policy)], 1):
                sent.append(before)
                answered.append(time.monotonic())
            await asyncio.sleep(0.02)

    # From before the one to after the other: at least as long as the window that is counted.
    assert all(late - early > 0.9 for early, late in zip(sent, answered[10:], strict=False))


@each_algorithm
async def test_no_key_is_without_an_expiry(
    redis: Redis, keys: KeySpace, store: Store, algorithm: Algorithm
) -> None:
    """Also none whose expiry somebody has taken away."""
    if isinstance(store, MemoryStore):
        return
    policy = Policy("p", Rate(5, 60), algorithm)
    await admitted(store, [hit(keys, policy)], 3)
    (key,) = [key for key in await all_keys(redis, keys) if "probe" not in key]
    await redis.persist(key)
    await admitted(store, [hit(keys, policy)], 9)

    assert all([await redis.pttl(key) > 0 for key in await all_keys(redis, keys)])


@dataclass
class Clock:
    """A clock that is set, for memory and for a copy of the script."""

    now: int = 1_700_000_000 * MICROSECONDS

    def __call__(self) -> float:
        return self.now / MICROSECONDS


@dataclass
class Tokens:
    """A token bucket as the textbooks have it: a number that grows."""

    capacity: int
    span: int
    level: float
    seen: int = 0

    def take(self, now: int) -> bool:
        grown = (now - self.seen) / self.span if self.seen else 0
        self.level, self.seen = min(self.capacity, self.level + grown), now
        # Sums of fractions miss a whole number by a hair.
        if self.level < 1 - 1e-6:
            return False
        self.level -= 1
        return True


steps = st.lists(st.integers(0, 3 * MICROSECONDS), max_size=40)


@given(steps=steps, quota=st.integers(1, 7), period=st.integers(1, 4), burst=st.integers(0, 9))
async def test_gcra_admits_exactly_what_a_token_bucket_admits(
    steps: list[int], quota: int, period: int, burst: int
) -> None:
    clock = Clock()
    store = MemoryStore(clock)
    policy = Policy("p", Rate(quota, period), Algorithm.TOKEN_BUCKET, burst)
    tokens = Tokens(policy.capacity, policy.span, policy.capacity)
    store._clock = lambda: (clock.now + 0.5) / MICROSECONDS
    for step in steps:
        clock.now += step
        (verdict,) = await store.hit([Hit(policy, "k")])
        assert verdict.fits == tokens.take(clock.now)
        assert verdict.left == math.floor(tokens.level + 1e-6)


@pytest.mark.parametrize("algorithm", [Algorithm.SLIDING_WINDOW, Algorithm.TOKEN_BUCKET])
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=60,
)
@given(
    steps=steps,
    quota=st.integers(1, 7),
    period=st.integers(1, 4),
    costs=st.lists(st.integers(1, 2), min_size=40, max_size=40),
)
async def test_redis_and_memory_say_the_same(  # noqa: PLR0913, PLR0917 - what varies
    redis: Redis,
    keys: KeySpace,
    algorithm: Algorithm,
    steps: list[int],
    quota: int,
    period: int,
    costs: list[int],
) -> None:
    """To the millisecond, for any sequence, with the script's clock set by hand."""
    clock = Clock()
    store = MemoryStore(lambda: (clock.now + 0.5) / MICROSECONDS)
    script = SCRIPT.replace("redis.call('TIME')", "{ARGV[#ARGV - 1], ARGV[#ARGV]}")
    policy = Policy("p", Rate(quota + 1, period), algorithm)
    key = keys.tagged("k", policy.kind)
    await redis.delete(key)
    for step, cost in zip(steps, costs, strict=False):
        clock.now += step
        (verdict,) = await store.hit([Hit(policy, key, cost)])
        now = divmod(clock.now, MICROSECONDS)
        answer = await redis.eval(script, 1, key, *policy.words, cost, *now)
        expected = [int(verdict.fits), verdict.left, verdict.ends, verdict.wait]
        assert answer == expected
        assert len(answer) == NUMBERS


async def test_a_server_that_has_forgotten_the_script_is_told_it_again(
    redis: Redis, keys: KeySpace, redis_settings: object
) -> None:
    made = redis_store(redis_settings, keys)  # type: ignore[arg-type] # as the fixture gives it
    await made.start()
    policy = Policy("p", Rate(5, 60))
    assert await admitted(made, [hit(keys, policy)], 2) == 2

    await redis.script_flush()

    assert await admitted(made, [hit(keys, policy)], 9) == 3
    await made.stop()


async def test_a_log_takes_about_ten_bytes_a_request(
    redis: Redis, keys: KeySpace, store: Store
) -> None:
    """What the documentation says of the cost of a sliding window."""
    if isinstance(store, MemoryStore):
        return
    policy = Policy("p", Rate(1000, 60), Algorithm.SLIDING_WINDOW)
    await admitted(store, [hit(keys, policy, cost=10)], 100)

    assert 0 < (await redis.memory_usage(hit(keys, policy).key) or 0) < 15_000
