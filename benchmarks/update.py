"""How long `copier update` takes: from the last recorded release to this tree, by preset.

As `app template update` runs Copier, and as Copier runs by itself, in a service with one commit and
no edits. By the clock and in processor time, which other work on the machine disturbs less. The aim
is 10 s.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from itertools import product
from pathlib import Path
from statistics import median

from scripts.releases import NOBODY, git
from scripts.tools import ROOT
from tests.update.services import PRESENT, RECORDED, build, files, generate

RESULTS = Path(__file__).with_name("results") / "update.md"
QUICK = ROOT / "template" / "src" / "app" / "cli" / "updates" / "quick_copier.py"
WAYS = {
    "app template update": [sys.executable, str(QUICK)],
    "copier update": [str(Path(sys.executable).parent / "copier")],
}
PRESETS = ("minimal", "standard", "full")
Taken = tuple[float, float]
"""Seconds by the clock and of processors."""


def once(service: Path, way: str) -> Taken:
    """Update a service and take that back; return how long the update took."""
    command = [*WAYS[way], "update", "--defaults", "--quiet", "--vcs-ref", PRESENT]
    start, before = time.perf_counter(), os.times()
    subprocess.run(command, cwd=service, env={**os.environ, **NOBODY}, check=True)
    after, end = os.times(), time.perf_counter()
    git(service, "reset", "--quiet", "--hard")
    git(service, "clean", "--quiet", "--force", "-d", "-x")
    used = after.children_user - before.children_user
    return end - start, used + after.children_system - before.children_system


def row(preset: str, way: str, number: int, taken: list[Taken]) -> str:
    """Return a line of the table."""
    clock, used = zip(*taken, strict=True)
    seconds = f"{median(clock):.1f} s ({min(clock):.1f} to {max(clock):.1f})"
    return f"| {preset} | `{way}` | {number} | {seconds} | {median(used):.1f} s |"


def main() -> None:
    """Measure, print, and save on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3)")
    chosen = parser.parse_args()
    os.environ.update(NOBODY)
    with tempfile.TemporaryDirectory(prefix="plinth-update-") as name:
        base = Path(name)
        repository = build(base / "plinth")
        services = {
            preset: generate(repository, base / preset, RECORDED[-1], {"preset": preset})
            for preset in PRESETS
        }
        taken: dict[tuple[str, str], list[Taken]] = {}
        for _, preset, way in product(range(chosen.rounds), PRESETS, WAYS):
            taken.setdefault((preset, way), []).append(once(services[preset], way))
        before = {preset: len(files(services[preset])) for preset in PRESETS}
    rows = [row(preset, way, before[preset], found) for (preset, way), found in taken.items()]
    git_version = subprocess.run(["git", "version"], capture_output=True, text=True, check=True)
    how = f"{chosen.rounds} rounds in rotation, from {RECORDED[-1]} to this tree"
    versions = f"Copier {version('copier')}, {git_version.stdout.strip()}"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, shared"
    lines = [
        "# One update",
        "",
        f"`make bench BENCH=update`: {how}; median (lowest to highest).",
        f"Python {platform.python_version()}, {versions}; {machine}.",
        "",
        "| preset | | files before | by the clock | of processors |",
        "|---|---|---|---|---|",
        *rows,
    ]
    page = "\n".join(lines) + "\n"
    print(page)
    if chosen.save:
        RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
