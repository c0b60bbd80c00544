"""`app cache …`, as people run it, but in this process."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from app.infrastructure.cache import Cache, commands
from app.infrastructure.cache.names import Names
from app.infrastructure.redis import KeySpace
from tests.infrastructure.cache.conftest import Counted


@pytest.fixture(autouse=True)
def of_this_test(monkeypatch: pytest.MonkeyPatch, redis_url: str, keys: KeySpace) -> None:
    """Commands read the environment."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("APP_NAME", keys.prefix)


async def app(*words: str) -> tuple[int, str]:
    """Run a command, in a thread since it has a loop of its own; return its code and output."""
    done = await asyncio.to_thread(CliRunner().invoke, commands.app, words)
    return done.exit_code, done.output


async def test_clear_takes_what_is_named(cache: Cache) -> None:
    async def kept(key: str, tag: str) -> bool:
        make = Counted(1)
        await cache.get_or_set(key, make, 60, model=int, tags=[tag])
        return not make.calls

    for key, tag in (("a:1", "x"), ("b:1", "y"), ("c:1", "z")):
        await kept(key, tag)
    assert (await app("clear", "--tag", "x", "--prefix", "b"))[0] == 0
    assert [await kept("a:1", "x"), await kept("b:1", "y"), await kept("c:1", "z")] == [
        False,
        False,
        True,
    ]
    assert (await app("clear", "--all"))[0] == 0
    assert not await kept("c:1", "z")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "name a --tag or a --prefix, or say --all"),
        (("--all", "--tag", "x"), "name a --tag or a --prefix, or say --all"),
        (("--prefix", "a::b"), "none empty"),
    ],
)
async def test_clear_wants_to_know_what(words: tuple[str, ...], sentence: str) -> None:
    code, said = await app("clear", *words)
    assert code == 2
    assert sentence in " ".join(said.replace("│", " ").split())


async def test_stats_are_those_of_all_processes(redis: Redis, keys: KeySpace) -> None:
    assert "nothing was asked" in (await app("stats"))[1]
    for field, number in {"users.get|hits": 3, "users.get|misses": 1, "a:b|bypassed": 2}.items():
        await redis.hset(Names(keys).counters, field, str(number))

    assert await app("stats") == (
        0,
        "a:b  never looked up  (bypassed 2)\nusers.get  75% found  (hits 3, misses 1)\n",
    )
