"""What it costs a caller to hand over one call: `run_later` beside what its peers offer for it.

The same sides and servers as in `benchmarks.queue`. Calls that block are made on threads, as a
service on an event loop has to.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.queue import BROKERS, Measure, Measured, cell, measurements, systems_on

RESULTS = Path(__file__).with_name("results") / "enqueue.md"
OURS = ("this queue, BullMQ engine", "this queue, RabbitMQ engine")
LATER = "the same through run_later"
CALLS = {
    OURS[0]: ("`jobs.publish(measured, value)`", "a job has to be declared"),
    OURS[1]: ("`jobs.publish(measured, value)`", "a job has to be declared"),
    LATER: (
        "`run_later(lambda run: run(Measured).of('it').done(value))`",
        "the result of one call can't be an argument of another",
    ),
    "arq": (
        "`enqueue_job('measured', value)`",
        "a name in a string, nothing checks the arguments, pickle by default, a worker that polls",
    ),
    "taskiq, streams": (
        "`measured.kiq(value)`",
        "a task has to be declared, no chain on a service, no batch",
    ),
    "taskiq": (
        "`measured.kiq(value)`",
        "a task has to be declared, no chain on a service, no batch",
    ),
    "dramatiq": (
        "`measured.send(value)`",
        "blocks the event loop; an actor has to be declared, nothing checks the arguments",
    ),
    "Celery": (
        "`measured.delay(value)`",
        "blocks the event loop, nothing checks the types, by default a killed worker loses it",
    ),
}
"""The call, and what one gives up by it."""
MEASURES = (
    Measure("one caller, one by one", "one by one", 2_000),
    Measure("50 callers at once", "publish", 10_000),
)
Ratios = dict[tuple[str, str], list[float]]


def ratios(measured: Measured, brokers: Sequence[str]) -> Ratios:
    """Return how long `run_later` takes over a raw job, round by round."""
    found: Ratios = {}
    for broker, ours in zip(BROKERS, OURS, strict=True):
        for measure in MEASURES if broker in brokers else ():
            raw = measured[broker, ours, measure.title]
            later = measured[broker, LATER, measure.title]
            found[broker, measure.title] = [a / b for a, b in zip(raw, later, strict=True)]
    return found


def report(measured: Measured, rounds: int, brokers: Sequence[str]) -> str:
    """Return the result as a page."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, shared"
    how = f"{rounds} rounds in rotation, the publishing side only; median (lowest to highest)"
    versions = ", ".join(f"{name} {version(name)}" for name in ("redis", "hiredis", "aiormq"))
    lines = [
        "# Handing over a call",
        "",
        f"`make bench BENCH=enqueue`: {how}.",
        f"Python {platform.python_version()}, {versions}; {machine}.",
    ]
    for broker in brokers:
        titles = " | ".join(measure.title for measure in MEASURES)
        lines += ["", f"## On {broker}", "", f"| | the call | {titles} | gives up |"]
        lines.append(f"|---|---|{'---|' * len(MEASURES)}---|")
        for system in systems_on(broker):
            if system.title not in CALLS:
                continue
            call, lacks = CALLS[system.title]
            found = [measured.get((broker, system.title, m.title)) for m in MEASURES]
            cells = " | ".join(cell(f, m.unit) for f, m in zip(found, MEASURES, strict=True))
            lines.append(f"| {system.title} | {call} | {cells} | {lacks} |")
    lines += ["", "Time through `run_later` over time for a raw job (bar: 1.25):", ""]
    for (broker, title), values in ratios(measured, brokers).items():
        low, middle, high = min(values), median(values), max(values)
        lines.append(f"- {broker}, {title}: {middle:.2f} ({low:.2f} to {high:.2f})")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and save on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3)")
    parser.add_argument("--on", choices=BROKERS, help="one broker only")
    chosen = parser.parse_args()
    if chosen.save and chosen.on:
        parser.error("a part is not saved: the table holds everything from one run")
    brokers = [chosen.on] if chosen.on else BROKERS
    measured: Measured = {}
    names = "|".join(f"^{title}$" for title in CALLS)
    for key, value in measurements(chosen.rounds, brokers, names, MEASURES):
        measured.setdefault(key, []).append(value)
    page = report(measured, chosen.rounds, brokers)
    print(page)
    if chosen.save:
        RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
