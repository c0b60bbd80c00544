"""What a hit of the cache costs, and how often a crowd computes a cold value, beside its peers.

Each cache runs in a process of its own, or in four at once for the crowd, against a Redis of its
own. The caches take turns in each round, the median counts. Ratios hold; the numbers are this
machine's at that moment.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from statistics import median

from benchmarks.queue import System, interpreter
from scripts import servers
from scripts.tools import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "cache.md"
SYSTEMS = (
    System("this cache", "plinth"),
    System("cashews, JSON, lock", "peer_cashews", ("cashews[redis]==7.6.0", "hiredis")),
    System("aiocache, JSON", "peer_aiocache", ("aiocache[redis]==0.12.3", "hiredis")),
)
PATIENCE = 120.0
"""Seconds one measurement may take."""
START = 10.0
"""Seconds for the processes of a crowd to start."""


@dataclass(frozen=True)
class Measure:
    """One column."""

    title: str
    what: str
    calls: int
    processes: int = 1
    unit: str = ""


MEASURES = (
    Measure("hits, one after the other", "one", 500, unit="/s"),
    Measure("hits, 50 tasks", "many", 4_000, unit="/s"),
    Measure("computed for 100 callers", "crowd", 100),
    Measure("computed for 4 x 100 callers", "crowd", 100, processes=4),
)


def run(system: System, measure: Measure, port: int, round_: int) -> float:
    """Measure once; return the number, that of all processes together."""
    asked = {
        "port": port,
        "prefix": f"b{round_}",
        "what": measure.what,
        "calls": measure.calls,
        "at": time.time() + (START if measure.processes > 1 else 0.0),
    }
    argv = [str(interpreter(system)), "-m", f"benchmarks.cache_sides.{system.module}"]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "template" / "src")]),
        "APP_ENV_FILE": "",
    }
    started = [
        subprocess.Popen([*argv, json.dumps(asked)], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(measure.processes)
    ]
    total = 0.0
    try:
        for process in started:
            said, _ = process.communicate(timeout=PATIENCE)
            if process.returncode:
                message = f"{system.title}, {measure.title}: exit {process.returncode}"
                raise RuntimeError(message)
            total += json.loads(said.splitlines()[-1])["value"]
    finally:
        for process in started:
            process.kill()
            process.wait()
    return total


def report(measured: dict[tuple[str, str], list[float]], rounds: int) -> str:
    """Return the result as a page."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, shared"
    names = ("redis", "hiredis", "pydantic")
    peers = ", ".join(r for system in SYSTEMS for r in system.requirements if "==" in r)
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    how = f"`make bench BENCH=cache`: {rounds} rounds in rotation; median (lowest to highest)."
    lines = [
        "# The cache beside its peers",
        "",
        f"{how} A value of ten fields; in a crowd it takes 1 s to compute.",
        f"Python {platform.python_version()}, {versions}, peers {peers}; {machine}.",
        "",
        f"| | {' | '.join(measure.title for measure in MEASURES)} |",
        f"|---|{'---|' * len(MEASURES)}",
    ]
    for system in SYSTEMS:
        cells = []
        for measure in MEASURES:
            values = measured[system.title, measure.title]
            low, middle, high = (f"{v:,.0f}" for v in (min(values), median(values), max(values)))
            cells.append(f"{middle}{measure.unit} ({low} to {high})")
        lines.append(f"| {system.title} | {' | '.join(cells)} |")
    lines += [
        "",
        "This cache reads four keys at each hit, so that an invalidation of any of them counts at",
        "once, and reads the value by its annotation; the peers read one key.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and save on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3)")
    chosen = parser.parse_args()
    measured: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for round_, measure, system in product(range(chosen.rounds), MEASURES, SYSTEMS):
            print(f"round {round_ + 1}: {measure.title}, {system.title}", file=sys.stderr)
            with servers.plain_redis(Path(folder) / system.module) as port:
                value = run(system, measure, port, round_)
            measured.setdefault((system.title, measure.title), []).append(value)
    page = report(measured, chosen.rounds)
    print(page)
    if chosen.save:
        RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
