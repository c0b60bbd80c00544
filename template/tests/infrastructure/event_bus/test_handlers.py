"""What `@on` takes and what it refuses, patterns, and when a handler is called again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.container import build_container
from app.core.discovery import Registry, discover
from app.core.errors import ConfigurationError
from app.core.events import Envelope, Event
from app.core.module import Module
from app.core.settings import load_settings
from app.infrastructure.event_bus import EventBus, EventHandler, Retry, bounding, on, order_of
from app.infrastructure.event_bus.errors import CancelledInsideError, HandlerTimeoutError
from app.infrastructure.event_bus.patterns import matches
from app.infrastructure.event_bus.subscriptions import Subscriptions
from tests.infrastructure.event_bus.conftest import Cancelled, Placed

WORDS = st.lists(st.sampled_from(["a", "b", "order"]), min_size=1, max_size=5)
PATTERNS = st.lists(st.sampled_from(["a", "b", "order", "*", "#"]), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("user.registered", "user.registered", True),
        ("user.registered", "user.registered.late", False),
        ("user.*", "user.registered", True),
        ("user.*", "user", False),
        ("user.*", "user.address.changed", False),
        ("*.registered", "user.registered", True),
        ("#", "user", True),
        ("#", "user.address.changed", True),
        ("user.#", "user", True),
        ("user.#", "user.address.changed", True),
        ("user.#", "users", False),
        ("#.changed", "changed", True),
        ("#.changed", "user.address.changed", True),
        ("user.#.changed", "user.changed", True),
        ("user.#.changed", "user.a.b.changed", True),
        ("*.#", "user", True),
        ("#.*", "user.a.b", True),
        ("#.#", "a", True),
    ],
)
def test_patterns_are_those_of_topic_exchanges(pattern: str, name: str, fits: bool) -> None:
    assert matches(pattern, name) is fits


@given(PATTERNS, WORDS)
def test_patterns_agree_with_their_definition(pattern: list[str], name: list[str]) -> None:
    assert matches(".".join(pattern), ".".join(name)) is by_definition(pattern, name)


def by_definition(pattern: list[str], name: list[str]) -> bool:
    if not pattern:
        return not name
    first, *rest = pattern
    if first == "#":
        return any(by_definition(rest, name[taken:]) for taken in range(len(name) + 1))
    return bool(name) and first in {"*", name[0]} and by_definition(rest, name[1:])


def test_a_long_pattern_does_not_take_long() -> None:
    assert not matches(".".join(["#"] * 90), ".".join(["a"] * 40) + "!")


@pytest.mark.parametrize("pattern", ["User.*", "a..b", ".a", "a.**", "a b", "a" * 201])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match="is no pattern of events"):
        matches(pattern, "a")


async def no_event(number: int) -> None: ...
async def no_parameter() -> None: ...
async def no_annotation(event) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001 - that is it
async def base_class(event: Event) -> None: ...
async def any_event(envelope: Envelope) -> None: ...
async def placed(event: Placed) -> None: ...
async def both(event: Placed | Cancelled) -> None: ...


@pytest.mark.parametrize(
    ("function", "pattern", "problem"),
    [
        (no_event, "a", "must annotate 'number' with a class of events"),
        (no_parameter, "a", "must take the event as its first parameter"),
        (no_annotation, "a", "must annotate 'event'"),
        (base_class, "a", "with a class of events that has a name"),
        (any_event, "", "needs a pattern"),
        (both, "", "needs a pattern"),
        (both, "order.placed", "'order.item.cancelled' is none of them"),
        (placed, "user.*", "'order.placed' is none of them"),
    ],
)
def test_a_handler_that_can_not_be_is_refused_with_its_name(
    function: Callable[..., Any], pattern: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        on(pattern)(function)
    assert function.__name__ in str(caught.value)


async def test_a_handler_can_be_called_as_the_function_it_is() -> None:
    got: list[Placed] = []

    @on()
    async def handle(event: Placed) -> None:
        got.append(event)

    await handle(Placed(number=1))

    assert got == [Placed(number=1)]


def test_two_handlers_of_one_name_are_refused() -> None:
    handler: EventHandler[..., Any] = on()(placed)
    with pytest.raises(ConfigurationError, match=r"two handlers .*placed"):
        Subscriptions([handler, handler])


def test_the_memory_of_names_is_bounded() -> None:
    """Names come from the wire."""
    subscriptions = Subscriptions([on("order.#")(any_event)])
    for number in range(3000):
        subscriptions.of(f"order.n{number}")

    assert len(subscriptions._known) <= 1024
    assert len(subscriptions.of("order.again")) == 1


def test_a_retry_that_can_not_be_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Retry needs"):
        Retry(attempts=0)


def test_pauses_double_up_to_the_longest() -> None:
    retry = Retry(first=timedelta(seconds=1), longest=timedelta(seconds=5), jitter=0)

    assert [retry.pause(n) for n in (1, 2, 3, 4, 1000)] == [1, 2, 4, 5, 5]
    assert 0.5 <= Retry(first=timedelta(seconds=1), jitter=0.5).pause(1) <= 1


async def test_a_transport_that_is_not_here_is_refused_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EVENT_BUS_TRANSPORT", "pigeon")
    modules: tuple[Module, ...] = tuple(m for m in discover().modules if m.name == "event_bus")
    settings = load_settings(modules)
    container = build_container(Registry(modules), settings)

    with pytest.raises(ConfigurationError, match=r"pigeon is no transport .* local"):
        await container.get(EventBus)


async def test_a_limit_leaves_results_errors_and_cancellation_as_they_are() -> None:
    seen: list[str] = []

    async def work(pause: float, error: Exception | None = None) -> None:
        await asyncio.sleep(0)
        try:
            await asyncio.sleep(pause)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        if error:
            raise error
        seen.append("done")

    async def within(seconds: float, begun: Coroutine[Any, Any, None]) -> None:
        await bounding.within(seconds, begun, begun.send(None))

    await within(5, work(0.001))
    with pytest.raises(KeyError):
        await within(5, work(0, KeyError()))
    with pytest.raises(HandlerTimeoutError, match=r"longer than 0\.01 s"):
        await within(0.01, work(60))
    with pytest.raises(TimeoutError):  # its own, not ours
        await within(5, work(0, TimeoutError()))
    outer = asyncio.create_task(within(5, work(60)))
    await asyncio.sleep(0.01)
    outer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outer

    assert seen == ["done", "cancelled", "cancelled"]


async def test_a_limit_and_a_cancellation_stand_whatever_is_made_of_them() -> None:
    """Else a handler would be called again that was told to stop."""

    async def obstinate() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise KeyError

    async def inside() -> None:
        waiting = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(waiting.cancel)
        await waiting

    async def within(seconds: float, begun: Coroutine[Any, Any, None]) -> None:
        await bounding.within(seconds, begun, begun.send(None))

    with pytest.raises(HandlerTimeoutError):
        await within(0.01, obstinate())
    with pytest.raises(CancelledInsideError):
        await within(5, inside())
    outer = asyncio.create_task(within(5, obstinate()))
    await asyncio.sleep(0.01)
    outer.cancel("by a scope of anyio, which knows it by that")
    with pytest.raises(asyncio.CancelledError, match="anyio"):
        await outer


@pytest.mark.parametrize("text", ["", "-", "a-1", "1-", "¹", "9" * 30])
def test_what_is_no_id_has_no_order(text: str) -> None:
    assert order_of(text) == ()
