"""`app events`: what is dead, and what is handled again, seen from another process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from app.core.discovery import Registry
from app.core.module import Module
from app.infrastructure.event_bus import EventHandler, Retry, on, operations
from app.infrastructure.event_bus.commands import app
from app.infrastructure.redis import KeySpace
from tests.infrastructure.event_bus.conftest import (
    Cancelled,
    Placed,
    Start,
    needed,
    prefix,
    shared,
    start,
    until_dead,
)

__all__ = ["prefix", "shared", "start"]
GOT: list[str] = []
BROKEN: list[bool] = []
Run = Callable[..., str]


@on("order.#", retry=Retry(attempts=1, first=timedelta()))
async def note(event: Placed | Cancelled) -> None:
    if BROKEN:
        message = "broken"
        raise OSError(message)
    GOT.append(f"{event.name} {event.number}")


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("EVENT_BUS_TRANSPORT", "redis")
    return "redis"


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    anyio_backend: str,
    keys: KeySpace,
    redis_url: str,
    transport: str,
) -> Run:
    """Run a command as `app events` would, on the test's server; return what it prints."""
    del anyio_backend  # lets async fixtures run
    probe = Module(name="probe", summary="test", contributes=(note,))
    registry = Registry((*needed(transport), probe))
    monkeypatch.setattr(operations, "discover", lambda: registry)
    environment = {"APP_NAME": keys.prefix, "REDIS_URL": redis_url}

    def invoke(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments), env=environment)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output

    return invoke


async def test_events_from_an_id_on_are_handled_again(start: Start, run: Run) -> None:
    GOT.clear()
    process = await start()
    for number in range(4):
        await process.events.publish(Placed(number=number))
        await process.events.publish(Cancelled(number=number))
    ids = [item.stream_id for item in (await process.bus.since("0")).items]

    said = await asyncio.to_thread(run, "replay", "--from", ids[1], "--event", "order.placed")
    assert said == "3 events handled again, 0 calls failed\n"
    assert GOT == ["order.placed 1", "order.placed 2", "order.placed 3"]

    await asyncio.to_thread(run, "replay", "--from", ids[1], "--to", ids[2], "--handler", note.name)
    assert GOT[3:] == ["order.placed 1"]


async def test_dead_events_are_shown_and_handled_again(start: Start, run: Run) -> None:
    GOT.clear()
    BROKEN.append(True)
    process = await start(note)
    await process.events.publish(Placed(number=1))
    await until_dead(process, 1)

    shown = await asyncio.to_thread(run, "dead")
    assert note.name in shown
    assert "OSError: broken" in shown
    BROKEN.clear()
    assert await asyncio.to_thread(run, "replay", "--dead") == "1 handled\n"
    assert GOT == ["order.placed 1"]
    assert await asyncio.to_thread(run, "dead") == "none\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("replay", "--from", "nonsense"), "take ids of events"),
        (("replay", "--from", "0", "--handler", "nobody"), "no handler is called nobody"),
        (("replay", "--from", "0", "--event", "A B"), "is no pattern"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, arguments: tuple[str, ...], problem: str) -> None:
    with pytest.raises(Exception, match=problem):
        run(*arguments)


def test_it_has_to_be_said_what_is_handled_again(run: Run) -> None:
    assert "name ids of dead events" in run("replay").replace("\n", " ")
    assert "name ids of dead events" in run("replay", "--dead", "--from", "0").replace("\n", " ")


def test_handlers_are_listed_with_what_they_take(run: Run) -> None:
    listed = run("list")

    assert isinstance(note, EventHandler)
    assert note.name in listed
    assert "order.placed v1, order.item.cancelled v1; 1 attempts" in listed


def test_the_local_transport_has_nothing_to_show(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENT_BUS_TRANSPORT", "local")

    with pytest.raises(Exception, match="nothing a command could see"):
        run("dead")
