"""What checking a rate limit costs, beside limits, throttled-py and slowapi.

Each limiter runs in a process of its own against one Redis or Valkey; they take turns in each
round, the median counts. Ratios hold; the numbers are this machine's at that moment.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median

from scripts import servers
from scripts.tools import CACHE, ROOT, ensure_uv

RESULTS = ROOT / "benchmarks" / "results" / "limiter.md"
PEER = CACHE / "peers" / "limiter"
REQUIREMENTS = (
    "limits[redis]==5.8.0", "throttled-py[redis]==3.5.0", "slowapi==0.1.10",
    "fastapi==0.165.0", "hiredis",
)  # fmt: skip
CHECKS = 10_000
ROUNDS = 3
PATIENCE = 120.0
"""Seconds one measurement may take."""

OURS = "this limiter"
THROUGHPUT = {
    "50 tasks": {OURS: "plinth", "limits": "peer_limits", "throttled-py": "peer_throttled"},
    "one by one": {OURS: "plinth", "limits": "peer_limits", "throttled-py": "peer_throttled"},
    "two limits": {OURS: "plinth", "limits": "peer_limits", "throttled-py": "peer_throttled"},
    "check only": {"limits": "peer_limits"},
}
"""Checks a second that also tell what is left; only `check only` and the peers' `two limits` do
not."""
REQUEST = {OURS: "plinth", "slowapi": "peer_slowapi"}
EXPLANATION = (
    "Checks a second, each of which says what is left, as `RateLimit` needs. `limits` takes two",
    "round trips for that (its check alone: last column). Of two limits it is asked for one after",
    "the other, and not for what is left; throttled-py is asked for both as well.",
)
ADDED = (
    "Added to a request, one after the other, in process: the service with its default limit",
    "against the same with `ENABLE_RATE_LIMITING=false`; a route with slowapi against one without.",
)
Measured = dict[tuple[str, str], list[float]]


def peer() -> Path:
    """Return the Python of the peers; their environment is made when it is first needed."""
    python, done = PEER / "bin" / "python", PEER / "requirements"
    wanted = "\n".join(REQUIREMENTS)
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        uv = ensure_uv()
        subprocess.run([str(uv), "venv", "--quiet", "--clear", str(PEER)], check=True)
        words = [str(uv), "pip", "install", "--quiet", "--python", str(python)]
        subprocess.run([*words, *REQUIREMENTS], check=True)
        done.write_text(wanted, encoding="utf-8")
    return python


def run(side: str, port: int, what: str) -> float:
    """Measure once."""
    program = Path(sys.executable) if side == "plinth" else peer()
    checks = CHECKS // 5 if what == "one by one" else CHECKS
    done = subprocess.run(
        [str(program), "-m", f"benchmarks.limiter_sides.{side}", str(port), what, str(checks)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "template" / "src")]),
            "APP_ENV_FILE": "",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    value: float = json.loads(done.stdout.splitlines()[-1])["value"]
    return value


def measure(rounds: int) -> Measured:
    """Measure everything in each round, the systems one after the other."""
    measured: Measured = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for number in range(1, rounds + 1):
            print(f"round {number} of {rounds}", file=sys.stderr)
            with servers.plain_redis(Path(name) / str(number)) as port:
                for what, systems in THROUGHPUT.items():
                    for title, side in systems.items():
                        measured.setdefault((what, title), []).append(run(side, port, what))
                for title, side in REQUEST.items():
                    with_it, without = run(side, port, "request"), run(side, port, "bare request")
                    measured.setdefault(("request", title), []).append(with_it - without)
    return measured


def report(measured: Measured, rounds: int) -> str:
    """Return the result as a page."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("redis", "hiredis", "fastapi"))
    peers = ", ".join(r for r in REQUIREMENTS if "==" in r and "fastapi" not in r)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, shared"
    machine += f", load {os.getloadavg()[0]:.0f}"
    how = f"{rounds} rounds in rotation, one process, fixed window, 1,000 callers"
    lines = [
        "# Cost of a rate limit",
        "",
        f"`make bench BENCH=limiter`: {how}; median (lowest to highest).",
        f"Python {platform.python_version()}, {versions}; peers {peers}; {machine}.",
        "",
        *EXPLANATION,
        "",
        f"| | {' | '.join(THROUGHPUT)} |",
        f"|---|{'---|' * len(THROUGHPUT)}",
    ]
    for title in THROUGHPUT["50 tasks"]:
        cells = [_cell(measured.get((what, title)), "/s") for what in THROUGHPUT]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    lines += ["", *ADDED, "", "| | added |", "|---|---|"]
    for title in REQUEST:
        lines.append(f"| {title} | {_cell(measured[('request', title)], ' µs')} |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float] | None, unit: str) -> str:
    if not values:
        return "-"
    low, middle, high = (f"{v:,.0f}" for v in (min(values), median(values), max(values)))
    return f"{middle}{unit} ({low} to {high})"


def main() -> None:
    """Measure, print, and save on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often (default: {ROUNDS})")
    chosen = parser.parse_args()
    page = report(measure(chosen.rounds), chosen.rounds)
    print(page)
    if chosen.save:
        RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
