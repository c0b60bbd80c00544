"""One event to three handlers in one process: ours, pyee and blinker, side by side.

    make bench BENCH=events

pyee and blinker come from `.cache/peers`; without them only ours is measured. They know neither
wildcards nor types, isolation, retries or injection: their figures are what a bare call list costs.
"""

from __future__ import annotations

import asyncio
import importlib
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "template/src"), str(ROOT / ".cache/peers/events")]

from app.core.container import build_container  # noqa: E402 - the path comes first
from app.core.discovery import Registry, discover  # noqa: E402 - see above
from app.core.events import Event, Events  # noqa: E402 - see above
from app.core.lifecycle import Lifecycle  # noqa: E402 - see above
from app.core.module import Module  # noqa: E402 - see above
from app.core.settings import load_settings  # noqa: E402 - see above
from app.infrastructure.event_bus import EventBus, on  # noqa: E402 - see above

COUNT = 20_000
ROUNDS = 7
RESULT = ROOT / "benchmarks/results/events.md"
BAR = 5.0
Emit = Callable[[], Awaitable[None]]


class Happened(Event):  # type: ignore[misc]  # see below
    """A small event."""

    name = "thing.happened"

    number: int


CALLS = [0]


@on()  # type: ignore[untyped-decorator]  # the payload is not on this path of mypy
async def typed(event: Happened) -> None:
    """Count."""
    CALLS[0] += event.number


@on("thing.*")  # type: ignore[untyped-decorator]  # the payload is not on this path of mypy
async def wild(event: Happened) -> None:
    """Count."""
    CALLS[0] += event.number


@on("#")  # type: ignore[untyped-decorator]  # the payload is not on this path of mypy
async def anything(event: Happened) -> None:
    """Count."""
    CALLS[0] += event.number


async def time_of(emit: Emit) -> float:
    """Return µs per event, of this process: others use the machine too."""
    begin = time.process_time()
    for _ in range(COUNT):
        await emit()
    return (time.process_time() - begin) / COUNT * 1e6


def peers() -> dict[str, Emit]:
    """Return what is installed of the others."""
    event = Happened(number=1)

    def count(_sender: object, **_: object) -> None:
        CALLS[0] += event.number

    async def count_async(_sender: object, **_: object) -> None:
        CALLS[0] += event.number

    found: dict[str, Emit] = {}
    try:
        blinker = importlib.import_module("blinker")
        pyee = importlib.import_module("pyee")
    except ImportError:
        return found
    plain, awaited, emitter = blinker.Signal(), blinker.Signal(), pyee.EventEmitter()
    kept = [[lambda s, h=h, **k: h(s, **k) for _ in range(3)] for h in (count, count_async)]
    for call in kept[0]:
        plain.connect(call, weak=False)
        emitter.on("thing.happened", call)
    wrappers = []
    for _ in range(3):

        async def one(sender: object) -> None:
            await count_async(sender)

        wrappers.append(one)
        awaited.connect(one, weak=False)

    async def with_blinker() -> None:
        plain.send(event)

    async def with_blinker_async() -> None:
        await awaited.send_async(event)

    async def with_pyee() -> None:
        emitter.emit("thing.happened", event)

    return {
        "blinker, plain functions": with_blinker,
        "blinker, send_async": with_blinker_async,
        "pyee, plain functions": with_pyee,
    }


async def measure() -> dict[str, list[float]]:
    """Return the rounds of each side, in rotation."""
    modules = tuple(m for m in discover().modules if m.name in {"event_bus", "logger"})
    probe = Module(name="probe", summary="bench", contributes=(typed, wild, anything))
    registry = Registry((*modules, probe))
    settings = load_settings(registry.modules)
    container = build_container(registry, settings)
    async with Lifecycle(registry, settings, container):
        events, bus = await container.get(Events), await container.get(EventBus)
        event = Happened(number=1)
        envelope = await events.publish(event)
        batch = (envelope,)

        async def emit() -> None:
            await bus.deliver(batch)

        async def publish() -> None:
            await events.publish(event)

        sides: dict[str, Emit] = {
            "Plinth, the bus alone (`EventBus.deliver`)": emit,
            "Plinth, all of it (`Events.publish`: id, time, trace)": publish,
            **peers(),
        }
        rounds: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(ROUNDS + 1):
            for name, side in sides.items():
                took = await time_of(side)
                if number:  # the first one warms up
                    rounds[name].append(took)
    return rounds


def version_of(name: str) -> str:
    """Return the version of a package, a dash if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def main() -> None:
    """Measure, print and write the table."""
    rounds = asyncio.run(measure())
    lines = [
        "# One event, three handlers, one process",
        "",
        f"Median and range of {ROUNDS} rounds in rotation, {COUNT} events each, µs of CPU time.",
        f"{platform.machine()}, Python {platform.python_version()}, {platform.system()}.",
        f"pyee {version_of('pyee')}, blinker {version_of('blinker')}. The bar: {BAR:g} µs.",
        "",
        "| | µs | range |",
        "|---|---|---|",
    ]
    for name, took in rounds.items():
        lines.append(
            f"| {name} | {statistics.median(took):.2f} | {min(took):.2f} to {max(took):.2f} |"
        )
    lines += [
        "",
        "Ours has typed async handlers, two with wildcards, each isolated and with a time limit.",
        "The others know none of that; pyee leaves async handlers to tasks, so it gets functions.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
