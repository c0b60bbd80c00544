"""`@cache` on methods: keys, arguments, what is refused, and how a method finds the cache."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextvars import Context
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from dishka import AsyncContainer, Provider, Scope
from pydantic import BaseModel, Field, SecretStr

from app.core.container import build_container
from app.core.discovery import Registry
from app.core.errors import NotFoundError
from app.core.health import HealthStatus
from app.core.lifecycle import Lifecycle
from app.core.module import Module
from app.core.settings import load_settings
from app.infrastructure.cache import Cache, UncacheableError, cache, cache_key, use_cache
from app.infrastructure.cache.health import CACHE_CHECK
from app.infrastructure.cache.link import Link
from app.infrastructure.cache.module import module as cache_module
from app.infrastructure.cache.statistics import Happened
from app.infrastructure.cache.store import Store
from app.infrastructure.cache.upkeep import Upkeep
from app.infrastructure.redis import KeySpace
from app.infrastructure.redis.module import module as redis_module
from app.infrastructure.redis.server import Server
from tests.infrastructure.cache.conftest import MakeCache


class Size(StrEnum):
    LARGE = "large"


class Query(BaseModel):
    text: str
    size: Size = Size.LARGE


class Secretive(BaseModel):
    token: SecretStr


class Partly(BaseModel):
    name: str
    digest: str = Field(exclude=True)


class Sometimes(BaseModel):
    name: str = Field("", exclude_if=lambda name: name == "a")


@dataclass(slots=True)
class Holder:
    held: Secretive


class Connection:
    """Of one request: closed at its end."""

    def __init__(self) -> None:
        self.is_open = True


async def connect() -> AsyncIterator[Connection]:
    connection = Connection()
    yield connection
    connection.is_open = False


class Reports:
    """A service of a request."""

    calls = 0

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @cache(ttl=60, key="report:{team}:{day}", tags=["team:{team}"])
    async def daily(self, team: str, day: date, *, full: bool = False) -> list[str]:
        """Make it."""
        Reports.calls += 1
        return [team, str(day), str(full)]

    @cache(ttl=60)
    async def search(self, query: Query, page: int = 1) -> int:
        del query, page
        Reports.calls += 1
        return Reports.calls

    @cache(ttl=0.1, stale=60)
    async def slow(self) -> int:
        assert self._connection.is_open, "the request is over"
        Reports.calls += 1
        return Reports.calls

    @cache(ttl=60, key="one:{number}", negative_ttl=60)
    async def one(self, number: int) -> str:
        Reports.calls += 1
        message = f"no {number}"
        raise NotFoundError(message)

    @cache(ttl=60, key=lambda _, *words, **more: cache_key("words", len(words), len(more)))
    async def count(self, *words: str, **more: int) -> str:
        del more
        Reports.calls += 1
        return ",".join(words)

    @cache(ttl=60)
    async def later(self) -> list[Later]:
        """Annotated with what is defined below."""
        return [Later(n=1)]


class Later(BaseModel):
    n: int


class Unlisted(Reports):
    """No container provides it."""


@pytest.fixture
def reports() -> Reports:
    Reports.calls = 0
    return Reports(Connection())


@pytest.fixture
async def chosen(make_cache: MakeCache) -> AsyncIterator[Cache]:
    """The cache decorated methods use in this test."""
    with use_cache(make_cache()) as found:
        yield found


DAY = date(2026, 11, 21)


async def test_without_a_service_it_is_just_called(reports: Reports) -> None:
    for _ in range(2):
        await reports.daily("a", DAY)
    assert Reports.calls == 2


async def test_a_call_is_made_once_for_each_key(reports: Reports, chosen: Cache) -> None:
    """By position, by name and with its default an argument is the same."""
    for _ in range(2):
        assert await reports.daily("a", DAY) == ["a", "2026-11-21", "False"]
        assert await reports.daily(team="a", day=DAY, full=False) == ["a", "2026-11-21", "False"]
        assert await reports.daily("b", DAY) == ["b", "2026-11-21", "False"]

    assert Reports.calls == 2
    await chosen.invalidate(tags=[cache_key("team", "a")])
    await reports.daily("a", DAY)
    await reports.daily("b", DAY)
    assert Reports.calls == 3
    await chosen.delete(cache_key("report", "b", DAY))
    await reports.daily("b", DAY)
    assert Reports.calls == 4


async def test_no_value_reaches_into_another_part_of_the_key(
    reports: Reports, chosen: Cache
) -> None:
    """Otherwise whoever chooses one could read what is kept for others."""
    del chosen
    await reports.daily("a:2026-11-20", DAY)
    await reports.daily("a%3A2026-11-20", DAY)
    assert Reports.calls == 2


async def test_without_a_key_it_is_the_method_and_its_arguments(
    reports: Reports, chosen: Cache
) -> None:
    for _ in range(2):
        await reports.search(Query(text="x"))
        await reports.search(Query(text="x", size=Size.LARGE), page=1)
        await reports.search(Query(text="y"))
        await reports.search(Query(text="x"), 2)
    assert Reports.calls == 3
    title = f"{Reports.__module__}.Reports.search"
    assert chosen.statistics.counts[title, Happened.HIT] == 5
    await chosen.invalidate(prefix=title)
    await reports.search(Query(text="x"))
    assert Reports.calls == 4


async def test_an_argument_json_does_not_know_wants_a_key(reports: Reports, chosen: Cache) -> None:
    del chosen
    with pytest.raises(TypeError, match="give `key=`"):
        await reports.search(object())  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    "value",
    [
        Secretive(token=SecretStr("a")),
        [{"it": Secretive(token=SecretStr("a"))}],
        Holder(Secretive(token=SecretStr("a"))),
        Partly(name="a", digest="b"),
        Sometimes(name="a"),
    ],
)
async def test_an_argument_json_does_not_tell_from_others_wants_a_key(
    chosen: Cache, value: object
) -> None:
    """Otherwise who asks with one secret gets what is kept for another."""
    del chosen

    @cache(ttl=60)
    async def who(given: object) -> str:
        return repr(given)

    with pytest.raises(TypeError, match="give `key=`"):
        await who(value)
    with pytest.raises(TypeError, match="can't be made of a"):
        cache_key("who", value)


async def test_a_wrong_call_is_the_error_python_makes_of_it(
    reports: Reports, chosen: Cache
) -> None:
    del chosen
    with pytest.raises(TypeError, match="day"):
        await reports.daily("a")  # type: ignore[call-arg]  # that is the point
    with pytest.raises(TypeError, match="nonsense"):
        await reports.daily("a", DAY, nonsense=1)  # type: ignore[call-arg]  # that is the point


async def test_a_function_may_make_the_key(reports: Reports, chosen: Cache) -> None:
    del chosen
    assert await reports.count("a", "b") == "a,b"
    assert await reports.count("c", "d") == "a,b"
    assert await reports.count("c", x=1) == "c"


async def test_that_there_is_none_is_kept_if_wanted(reports: Reports, chosen: Cache) -> None:
    del chosen
    for _ in range(2):
        with pytest.raises(NotFoundError, match="no 7"):
            await reports.one(7)
    assert Reports.calls == 1


async def test_an_annotation_may_name_what_is_defined_below(
    reports: Reports, chosen: Cache
) -> None:
    del chosen
    assert await reports.later() == await reports.later() == [Later(n=1)]


async def test_functions_can_be_decorated_too(chosen: Cache) -> None:
    del chosen
    calls = 0

    @cache(ttl=60, key="f:{x}")
    async def function(x: int) -> int:
        nonlocal calls
        calls += 1
        return x

    assert await function(3) == await function(x=3) == 3
    assert calls == 1


def test_a_method_keeps_its_name_and_signature() -> None:
    assert Reports.daily.__name__ == "daily"
    assert Reports.daily.__doc__ == "Make it."
    assert list(inspect.signature(Reports.daily).parameters) == ["self", "team", "day", "full"]


def decorated(function: Any, **options: Any) -> Any:
    return cache(**{"ttl": 60, **options})(function)


async def good(self: Any, number: int) -> int:
    del self
    return number


async def nothing(self: Any) -> None:
    """Return None."""


async def unsaid(self):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - that is the point
    return self


def plain(self: Any) -> int:
    del self
    return 1


@pytest.mark.parametrize(
    ("function", "options", "error", "sentence"),
    [
        (plain, {}, TypeError, "not written with async def"),
        (nothing, {}, UncacheableError, "returns nothing"),
        (unsaid, {}, UncacheableError, "annotate it"),
        (good, {"key": "x:{other}"}, TypeError, "its arguments are number"),
        (good, {"tags": ["x:{self}"]}, TypeError, "its arguments are number"),
        (good, {"key": "x:{number:03}"}, TypeError, "how to format"),
        (good, {"key": "x:{number!r}"}, TypeError, "how to format"),
        (good, {"ttl": 0}, ValueError, "seconds above 0"),
        (good, {"jitter": 1}, ValueError, "below 1"),
    ],
)
def test_mistakes_are_told_where_they_are_written(
    function: Any, options: Any, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        decorated(function, **options)


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        (("user", 42), "user:42"),
        (("user", "42"), "user:42"),
        (("user", UUID(int=1)), f"user:{UUID(int=1)}"),
        (("size", Size.LARGE), "size:large"),
        (("mail", "a@b.example"), "mail:a@b.example"),
        (("x", "a:b"), "x:a%3Ab"),
        (("x", "100%"), "x:100%25"),
        (("x", ""), "x:%"),
        (("x", None), "x:%none"),
        (("x", True), "x:%true"),
        (("x", 1.5), "x:%1.5"),
        (("x", DAY), 'x:%"2026-11-21"'),
        (("x", [1, "a"]), 'x:%[1,"a"]'),
    ],
)
def test_keys_are_made_of_parts(parts: tuple[Any, ...], key: str) -> None:
    assert cache_key(*parts) == key


def test_no_two_values_have_one_key() -> None:
    """Except numbers and text that look alike."""
    values: list[Any] = [
        None,
        "%none",
        "none",
        True,
        "%true",
        "",
        "%",
        "%25",
        "a:b",
        "a%3Ab",
        [],
        {},
        1.0,
        "1.0",
    ]
    values += ["q" * 5_000, "q" * 5_001, f"%#{'0' * 40}", ["q" * 5_000]]
    assert len({cache_key(value) for value in values}) == len(values)


async def test_what_a_caller_sends_is_never_too_long(chosen: Cache) -> None:
    """Twelve parts of it are a key: a long search must not become an error of the service."""
    calls = 0

    @cache(ttl=60, key=":".join(["{q}"] * 12), tags=["q:{q}"])
    async def search(q: str) -> int:
        nonlocal calls
        calls += 1
        return len(q)

    assert [await search("ü" * n) for n in (9_000, 9_001, 9_000)] == [9_000, 9_001, 9_000]
    assert calls == 2
    await chosen.invalidate(tags=[cache_key("q", "ü" * 9_000)])
    assert [await search("ü" * n) for n in (9_000, 9_001)] == [9_000, 9_001]
    assert calls == 3


# --- In a started service


provider = Provider(scope=Scope.REQUEST)
provider.provide(connect)
provider.provide(Reports)
PROBE = Module(name="probe", summary="Has methods", requires=("cache",), providers=(provider,))


@pytest.fixture
async def container(overrides: list[Provider]) -> AsyncIterator[AsyncContainer]:
    """The container of a service of three modules."""
    registry = Registry((redis_module, cache_module, PROBE))
    settings = load_settings(registry.modules)
    known = [each for each in overrides if _provides(each) & {Server, KeySpace}]
    built = build_container(registry, settings, *known)
    async with Lifecycle(registry, settings, built):
        Reports.calls = 0
        yield built


def _provides(provider: Provider) -> set[Any]:
    return {factory.provides.type_hint for factory in provider.factories}


async def test_methods_find_the_cache_of_the_running_service(container: AsyncContainer) -> None:
    """In any task: requests are no children of the one that started the service."""

    async def request() -> list[str]:
        async with container() as scope:
            return await (await scope.get(Reports)).daily("a", DAY)

    tasks = [asyncio.create_task(request(), context=Context()) for _ in range(5)]
    assert await asyncio.gather(*tasks) == [["a", "2026-11-21", "False"]] * 5
    assert Reports.calls == 1


async def test_after_its_end_they_are_just_called(reports: Reports, container: Any) -> None:
    await cache_module.shutdown(container)  # type: ignore[misc]  # it has one
    for _ in range(2):
        await reports.daily("a", DAY)
    assert Reports.calls == 2


async def test_an_old_value_is_renewed_on_an_object_of_a_new_scope(
    container: AsyncContainer,
) -> None:
    """That of the request is of no use any more: its connection is closed."""
    async with container() as scope:
        assert await (await scope.get(Reports)).slow() == 1
    await asyncio.sleep(0.15)
    async with container() as scope:
        assert await (await scope.get(Reports)).slow() == 1
    async with asyncio.timeout(10):
        while Reports.calls < 2:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    async with container() as scope:
        assert await (await scope.get(Reports)).slow() == 2


async def test_where_no_container_provides_it_the_caller_renews_it(
    container: AsyncContainer,
) -> None:
    del container
    mine = Unlisted(Connection())
    assert await mine.slow() == 1
    await asyncio.sleep(0.15)
    assert await mine.slow() == 2


async def test_counts_of_all_processes_are_added(container: AsyncContainer) -> None:
    upkeep, store = await container.get(Upkeep), await container.get(Store)
    async with container() as scope:
        reports = await scope.get(Reports)
        for _ in range(3):
            await reports.daily("a", DAY)
    await upkeep.deliver()
    await upkeep.deliver()

    title = f"{Reports.__module__}.Reports.daily"
    counted = await store.counted()
    assert counted[f"{title}|hits"] == 2
    assert counted[f"{title}|misses"] == counted[f"{title}|computed"] == 1


async def test_health_says_whether_redis_is_away(container: AsyncContainer) -> None:
    assert (await CACHE_CHECK.check(container)).status is HealthStatus.UP
    (await container.get(Link)).is_away = True
    assert (await CACHE_CHECK.check(container)).status is HealthStatus.DEGRADED
