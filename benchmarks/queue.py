"""What the job queue does in a second, beside BullMQ in Python and in Node.

Each system runs in a process of its own, publisher and worker in one, against one server with its
data on disk; the systems take turns in each round, the median counts. Ratios hold; the numbers are
this machine's at that moment.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from scripts import servers
from scripts.tools import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "queue.md"
SIDES = ROOT / "benchmarks" / "queue_sides"
SYSTEMS = {
    "plinth": "this queue, BullMQ engine",
    "bullmq_python": "bullmq for Python",
    "node": "BullMQ for Node",
}
PATIENCE = 120.0
"""Seconds one measurement may take."""


@dataclass(frozen=True)
class Measure:
    """One column of the table."""

    title: str
    what: str
    jobs: int = 0
    concurrency: int = 10
    unit: str = "/s"


MEASURES = (
    Measure("publish, 50 tasks", "publish", 10_000),
    Measure("publish, batches of 100", "batch", 20_000),
    Measure("consume, 1", "consume", 3_000, 1),
    Measure("consume, 10", "consume", 10_000, 10),
    Measure("consume, 100", "consume", 20_000, 100),
    Measure("idle to start, p50", "latency", unit=" ms"),
    Measure("publish to result, p50", "result", unit=" ms"),
)
LACKS = {("bullmq_python", "result")}
"""What a system can't do."""


def run(system: str, measure: Measure, port: int, round_: int, node: str) -> float:
    """Measure once; return the number."""
    asked = {
        "port": port,
        "broker": "",
        "prefix": f"b{round_}-{system.replace('_', '-')}-{measure.what}-{measure.concurrency}",
        "what": measure.what,
        "jobs": measure.jobs,
        "concurrency": measure.concurrency,
    }
    program = [sys.executable, "-m", f"benchmarks.queue_sides.{system}"]
    if system == "node":
        program = ["node", str(SIDES / "node.cjs")]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "template" / "src")])
    env = {
        **os.environ,
        "PYTHONPATH": paths,
        "NODE_BULLMQ": node,
        "APP_ENV_FILE": "",
        "LOG_LEVEL": "WARNING",
    }
    done = subprocess.run(
        [*program, json.dumps(asked)],
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode != 0:
        message = f"{system}, {measure.title}: {done.stderr}"
        raise RuntimeError(message)
    value: float = json.loads(done.stdout.splitlines()[-1])["value"]
    return value


def measurements(rounds: int) -> Iterator[tuple[str, Measure, float]]:
    """Measure everything in each round, the systems one after the other."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        node = stack.enter_context(servers.node_bullmq(folder))
        for round_ in range(1, rounds + 1):
            print(f"round {round_} of {rounds}", file=sys.stderr)
            for measure in MEASURES:
                for system in SYSTEMS:
                    if (system, measure.what) in LACKS:
                        continue
                    # A server of its own each time: nobody pays for what another one left.
                    with servers.plain_redis(folder / f"redis-{system}") as port:
                        yield system, measure, run(system, measure, port, round_, node)


def report(measured: Mapping[tuple[str, str], list[float]], rounds: int) -> str:
    """Return the result as a page."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("bullmq", "redis", "hiredis"))
    how = f"`make bench BENCH=queue`: {rounds} rounds in rotation, no-op job, one process"
    versions += f", from npm {', '.join(servers.NODE_PACKAGES)}"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, shared"
    lines = [
        "# Throughput of the job queue",
        "",
        f"{how}; median (lowest to highest).",
        f"Python {platform.python_version()}, {versions}; {machine}.",
        "",
        f"| | {' | '.join(SYSTEMS.values())} |",
        f"|---|{'---|' * len(SYSTEMS)}",
    ]
    for measure in MEASURES:
        cells = [_cell(measured.get((system, measure.title)), measure.unit) for system in SYSTEMS]
        lines.append(f"| {measure.title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float] | None, unit: str) -> str:
    if not values:
        return "-"
    shown = "{:,.0f}" if unit == "/s" else "{:.2f}"
    low, middle, high = (shown.format(v) for v in (min(values), median(values), max(values)))
    return f"{middle}{unit} ({low} to {high})"


def main() -> None:
    """Measure, print, and save on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3)")
    chosen = parser.parse_args()
    measured: dict[tuple[str, str], list[float]] = {}
    for system, measure, value in measurements(chosen.rounds):
        measured.setdefault((system, measure.title), []).append(value)
    page = report(measured, chosen.rounds)
    print(page)
    if chosen.save:
        RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
