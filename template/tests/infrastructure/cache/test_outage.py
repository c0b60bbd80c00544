"""Without Redis everything is computed, soon enough, and it is said once."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from app.infrastructure.cache import Cache
from app.infrastructure.cache.link import AwayError
from app.infrastructure.cache.settings import CacheSettings
from app.infrastructure.cache.statistics import Happened
from app.infrastructure.cache.upkeep import Upkeep
from app.infrastructure.redis.embedded import binary
from app.infrastructure.redis.settings import RedisSettings
from tests.infrastructure.cache.conftest import Counted, MakeCache
from tests.infrastructure.cache.test_flights import Slow

Lines = Callable[[], list[str]]
HANG = 12.0
"""Seconds; far above what is promised, far below for ever."""


class Server:
    """One that can be killed, frozen and started again, and keeps its data."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "s"
        self._folder = folder
        self.start()

    def start(self) -> None:
        words = ["--port", "0", "--unixsocket", str(self.path), "--dir", str(self._folder)]
        words += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        self.process = subprocess.Popen([binary(), *words], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self.path)) == 0:
                    return
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.path.unlink(missing_ok=True)

    @property
    def settings(self) -> RedisSettings:
        return RedisSettings(redis_url=SecretStr(f"unix://{self.path}"), redis_retries=0)


@pytest.fixture
def server(short_folder: Path) -> Iterator[Server]:
    server = Server(short_folder)
    yield server
    server.process.send_signal(signal.SIGCONT)
    server.stop()


def said(lines: Lines) -> list[str]:
    return [line.partition(":")[0] for line in lines() if "cache" in line.lower()]


async def back(cache: Cache) -> None:
    """Wait until it has seen that Redis is back."""
    async with asyncio.timeout(30):
        while cache._store._link.is_away:
            await cache.get("nothing", int)
            await asyncio.sleep(0.05)


AWAY, BACK = "The cache does without Redis until it is back", "The cache has Redis again"


async def test_it_computes_and_says_so_once_and_once_when_redis_is_back(
    make_cache: MakeCache, server: Server, lines: Lines
) -> None:
    cache, make = make_cache(server.settings, cache_retry=0.1, cache_timeout=1.0), Counted()
    await cache.get_or_set("k:1", make, 60, model=str)
    server.stop()

    async with asyncio.timeout(HANG):
        for _ in range(50):
            assert await cache.get_or_set("k:1", make, 60, model=str) == "value"
            await asyncio.sleep(0.01)
    assert make.calls == 51
    assert said(lines) == [AWAY]
    assert cache.statistics.total(Happened.ALONE) == 50

    server.start()
    await back(cache)
    calls = make.calls
    for _ in range(20):
        await cache.get_or_set("k:1", make, 60, model=str)
    assert make.calls == calls  # what was kept is still there
    assert said(lines) == [AWAY, BACK]


async def test_a_server_that_hangs_holds_nobody_up(
    make_cache: MakeCache, server: Server, lines: Lines
) -> None:
    """One wait for those who ask at that moment, none for those who come after."""
    cache = make_cache(server.settings, cache_timeout=0.1, cache_retry=60)
    await cache.get_or_set("k:1", Counted(), 60, model=str)
    server.process.send_signal(signal.SIGSTOP)

    async with asyncio.timeout(HANG):
        await asyncio.gather(
            *(cache.get_or_set(f"k:{n}", Counted(), 60, model=str) for n in range(100))
        )
    started = time.monotonic()
    for number in range(200):
        await cache.get_or_set(f"k:{number}", Counted(), 60, model=str)
    assert time.monotonic() - started < HANG  # 200 waits would be 20 s
    assert said(lines) == [AWAY]


async def test_a_server_that_died_holds_up_all_who_ask_at_once_together(
    make_cache: MakeCache, server: Server
) -> None:
    """Not one after the other, each for its own attempt to connect."""
    cache = make_cache(server.settings, cache_timeout=0.2, cache_retry=60)
    await cache.get_or_set("k:1", Counted(), 60, model=str)
    server.stop()
    await asyncio.sleep(0.1)  # the connection is lost before anybody asks

    async with asyncio.timeout(HANG):  # a row of 100 attempts would be 20 s
        await asyncio.gather(
            *(cache.get_or_set(f"k:{n}", Counted(), 60, model=str) for n in range(100))
        )


async def test_a_server_that_was_never_there_is_no_error(make_cache: MakeCache) -> None:
    where = RedisSettings.model_validate({"redis_url": "redis://127.0.0.1:1/0"})
    cache = make_cache(where, cache_timeout=0.1)

    async with asyncio.timeout(HANG):
        assert await cache.get_or_set("k:1", Counted(), 60, model=str) == "value"
        assert await cache.get("k:1", str) is None
        await cache.set("k:1", "x", 60, model=str)
        await cache.delete("k:1")


async def test_callers_of_a_process_still_share_one_computation(
    make_cache: MakeCache, server: Server
) -> None:
    cache, slow = make_cache(server.settings, cache_retry=60), Slow()
    server.stop()
    await cache.get("k:1", int)  # now it is known
    asked = [asyncio.create_task(cache.get_or_set("k:1", slow, 60)) for _ in range(10)]
    await slow.started.wait()
    await cache.delete("k:1")
    late = asyncio.create_task(cache.get_or_set("k:1", slow, 60))
    await asyncio.sleep(0.05)
    slow.go.set()

    assert await asyncio.gather(*asked) == [1] * 10
    assert await late == 2  # it came after the invalidation


async def test_an_invalidation_is_made_up_for_before_redis_is_used_again(
    make_cache: MakeCache, server: Server
) -> None:
    """Otherwise a server that comes back with its data would bring back what is not so any more."""
    cache = make_cache(server.settings, cache_retry=0.1, cache_timeout=1.0)
    other = make_cache(server.settings)
    await cache.get_or_set("k:1", Counted(1), 60, model=int, tags=["t"])
    server.stop()
    await cache.invalidate(tags=["t"])
    assert cache._store.owes == 1
    server.start()
    await back(cache)

    assert await cache.get_or_set("k:1", Counted(2), 60, model=int, tags=["t"]) == 2
    assert cache._store.owes == 0
    await back(other)
    assert await other.get_or_set("k:1", Counted(3), 60, model=int, tags=["t"]) == 2


async def test_an_invalidation_whose_task_is_cancelled_is_made_up_for(
    make_cache: MakeCache, server: Server
) -> None:
    """Such as a job's whose time is over; what it has committed stands."""
    cache = make_cache(server.settings, cache_timeout=HANG)
    await cache.get_or_set("k:1", Counted(1), 60, model=int)
    server.stop()
    await asyncio.sleep(0.05)
    forget = asyncio.create_task(cache.delete("k:1"))
    await asyncio.sleep(0.05)
    forget.cancel()
    with pytest.raises(asyncio.CancelledError):
        await forget
    server.start()

    assert await cache.get_or_set("k:1", Counted(2), 60, model=int) == 2


async def test_what_changes_while_an_older_change_is_made_up_for_is_not_forgotten(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, other = make_cache(), make_cache()
    change, sent, go = cache._store._change, asyncio.Event(), asyncio.Event()

    async def away(stamps: Collection[str]) -> None:
        del stamps
        raise AwayError

    async def slow(stamps: Collection[str]) -> None:
        await change(stamps)
        sent.set()
        await go.wait()

    monkeypatch.setattr(cache._store, "_change", away)
    await cache.delete("k:1")
    monkeypatch.setattr(cache._store, "_change", slow)
    pays = asyncio.create_task(cache.get("k:1", int))
    await sent.wait()
    assert await other.get_or_set("k:1", Counted(1), 60, model=int) == 1
    monkeypatch.setattr(cache._store, "_change", away)
    await cache.delete("k:1")
    go.set()
    await pays
    monkeypatch.setattr(cache._store, "_change", change)

    assert await cache.get_or_set("k:1", Counted(2), 60, model=int) == 2


@pytest.mark.parametrize("returns", [True, False])
async def test_a_process_that_ends_pays_what_it_owes_or_says_so(
    make_cache: MakeCache, server: Server, lines: Lines, *, returns: bool
) -> None:
    """It is the only one that knows; Redis comes back with its data, and with the old value."""
    cache, other = (make_cache(server.settings, cache_retry=60, cache_timeout=1) for _ in range(2))
    await cache.get_or_set("k:1", Counted(1), 60, model=int)
    server.stop()
    await cache.delete("k:1")
    if returns:
        server.start()
    settings = CacheSettings(cache_retry=60)
    await Upkeep(cache._store, cache.statistics, settings).stop()

    assert any("away: 1. What" in line for line in lines()) is not returns
    if returns:
        assert await other.get_or_set("k:1", Counted(2), 60, model=int) == 2


async def test_too_many_to_remember_are_everything(make_cache: MakeCache) -> None:
    where = RedisSettings.model_validate({"redis_url": "redis://127.0.0.1:1/0"})
    cache = make_cache(where, cache_timeout=0.1, cache_retry=60)
    await cache.invalidate(tags=["first"])
    for number in range(700):
        await cache.invalidate(tags=[f"t{number}:{n}" for n in range(15)])

    assert cache._store.owes < 10_000
    assert cache._names.everything in cache._store._owed


async def test_redis_that_went_away_while_computing_costs_nothing(
    make_cache: MakeCache, server: Server
) -> None:
    cache, slow = make_cache(server.settings), Slow()
    asked = asyncio.create_task(cache.get_or_set("k:1", slow, 60))
    await slow.started.wait()
    server.stop()
    slow.go.set()

    async with asyncio.timeout(HANG):
        assert await asked == 1


async def test_a_server_that_lost_its_scripts_gets_them_again(
    make_cache: MakeCache, server: Server
) -> None:
    cache = make_cache(server.settings)
    await cache.get_or_set("k:1", Counted(1), 60, model=int)
    with Redis(unix_socket_path=str(server.path)) as admin:
        admin.script_flush()

    assert await cache.get_or_set("k:2", Counted(2), 60, model=int) == 2
    assert await cache.get("k:2", int) == 2


async def test_a_full_server_is_complained_about_once(
    make_cache: MakeCache, server: Server, lines: Lines
) -> None:
    """It answers, so it is not away: what it holds is used, and nothing flaps."""
    cache = make_cache(server.settings, cache_retry=0.01)
    await cache.get_or_set("k:1", Counted(1), 60, model=int)
    with Redis(unix_socket_path=str(server.path)) as admin:
        admin.config_set("maxmemory", "1")
    make = Counted(2)

    for _ in range(10):
        assert await cache.get_or_set("k:1", Counted(0), 60, model=int) == 1
        assert await cache.get_or_set("k:2", make, 60, model=int) == 2

    assert make.calls == 10
    assert said(lines) == ["Redis refuses what the cache asks for"]
