"""What the job queue does in a second, beside BullMQ in Python and in Node, and beside its peers.

Each system runs in a process of its own, publisher and worker in one, against a server with its
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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from re import search
from statistics import median

from scripts import servers
from scripts.tools import CACHE, ROOT, ensure_uv

RESULTS = ROOT / "benchmarks" / "results" / "queue.md"
SIDES = ROOT / "benchmarks" / "queue_sides"
PEERS = CACHE / "peers"
"""Each peer has an environment of its own: their requirements exclude each other."""


@dataclass(frozen=True)
class System:
    """One that is measured."""

    title: str
    module: str
    requirements: tuple[str, ...] = ()
    """Of a peer."""
    lacks: tuple[str, ...] = ()
    """What it can't do, or does by asking again and again."""


PEERS_LACK = ("batch", "result")
TASKIQ = ("taskiq==0.13.0", "taskiq-redis==1.2.4", "taskiq-aio-pika==0.6.1", "hiredis")
DRAMATIQ = ("dramatiq[redis,rabbitmq]==2.2.1", "hiredis")
CELERY = ("celery[redis]==5.7.0", "hiredis")
REDIS = (
    System("this queue, BullMQ engine", "plinth"),
    System("the same through run_later", "plinth_deferred"),
    System("the engine alone", "plinth_bare", lacks=("result",)),
    System("bullmq for Python", "bullmq_python", lacks=("result",)),
    System("BullMQ for Node", "node"),
    System("arq", "peer_arq", ("arq==0.28.0", "hiredis"), PEERS_LACK),
    System("taskiq, streams", "peer_taskiq", TASKIQ, PEERS_LACK),
    System("saq", "peer_saq", ("saq[redis]==0.26.4", "hiredis", "typing-extensions"), PEERS_LACK),
    System("dramatiq", "peer_dramatiq", DRAMATIQ, PEERS_LACK),
    System("streaQ", "peer_streaq", ("streaq==7.2.0",), ("result",)),
    System("Celery", "peer_celery", CELERY, PEERS_LACK),
)
RABBITMQ = (
    System("this queue, RabbitMQ engine", "plinth"),
    System("the same through run_later", "plinth_deferred"),
    System("the engine alone", "plinth_bare", lacks=("result",)),
    System("aio-pika, quorum queue", "stock_aio_pika", ("aio-pika==10.2.1",), ("result",)),
    System("taskiq", "peer_taskiq", TASKIQ, (*PEERS_LACK, "latency")),
    System("dramatiq", "peer_dramatiq", DRAMATIQ, PEERS_LACK),
    System("Celery", "peer_celery", CELERY, PEERS_LACK),
)
BROKERS = ("Redis", "RabbitMQ")
SEPARATORS = str.maketrans("_ ", "--")
PATIENCE = 60.0
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


@dataclass(frozen=True)
class Servers:
    """Where one measurement runs."""

    redis: int
    broker: str
    node: str


def interpreter(system: System) -> Path:
    """Return the Python of a system; that of a peer is made when it is first needed."""
    if not system.requirements:
        return Path(sys.executable)
    place = PEERS / system.module
    python = place / "bin" / "python"
    done = place / "requirements"
    wanted = "\n".join(system.requirements)
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        uv = ensure_uv()
        subprocess.run([str(uv), "venv", "--quiet", "--clear", str(place)], check=True)
        words = [str(uv), "pip", "install", "--quiet", "--python", str(python)]
        subprocess.run([*words, *system.requirements], check=True)
        done.write_text(wanted, encoding="utf-8")
    return python


def run(system: System, measure: Measure, where: Servers, round_: int) -> float | None:
    """Measure once; return the number, or None for a peer that came to no end."""
    asked = {
        "port": where.redis,
        "broker": where.broker,
        "prefix": f"b{round_}-{system.module}-{measure.what}".translate(SEPARATORS),
        "what": measure.what,
        "jobs": measure.jobs,
        "concurrency": measure.concurrency,
    }
    program = [str(interpreter(system)), "-m", f"benchmarks.queue_sides.{system.module}"]
    if system.module == "node":
        program = ["node", str(SIDES / "node.cjs")]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "template" / "src")])
    env = {
        **os.environ,
        "PYTHONPATH": paths,
        "NODE_BULLMQ": where.node,
        "APP_ENV_FILE": "",
        "LOG_LEVEL": "WARNING",
    }
    try:
        done = subprocess.run(
            [*program, json.dumps(asked)],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        if not system.requirements:
            raise
        print(f"{system.title}, {measure.title}: no end in {PATIENCE:g} s", file=sys.stderr)
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        message = f"{system.title}, {measure.title}: {done.stderr}"
        raise RuntimeError(message)
    value: float = json.loads(lines[-1])["value"]
    return value


Measured = dict[tuple[str, str, str], list[float]]


def measurements(
    rounds: int, brokers: Sequence[str], systems: str, measures: Sequence[Measure]
) -> Iterator[tuple[tuple[str, str, str], float]]:
    """Measure what is chosen in each round, the systems one after the other.

    `systems` is a regular expression, found in the titles of those to be measured.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        node = stack.enter_context(servers.node_bullmq(folder))
        for round_ in range(1, rounds + 1):
            for broker in brokers:
                print(f"round {round_} of {rounds}, {broker}", file=sys.stderr)
                with _broker(broker, folder / f"{broker}-{round_}") as url:
                    for measure, system in product(measures, systems_on(broker)):
                        if measure.what in system.lacks or not search(systems, system.title):
                            continue
                        # A Redis of its own each time: nobody pays for what another one left.
                        with servers.plain_redis(folder / system.module) as port:
                            where = Servers(port, url, node)
                            value = run(system, measure, where, round_)
                        if value is not None:
                            yield (broker, system.title, measure.title), value


def systems_on(broker: str) -> Sequence[System]:
    """Return those that can be measured on a broker."""
    return REDIS if broker == "Redis" else RABBITMQ


@contextmanager
def _broker(name: str, folder: Path) -> Iterator[str]:
    """Run RabbitMQ if that is measured; yield its URL, or nothing."""
    if name == "Redis":
        yield ""
        return
    with servers.rabbitmq(folder) as url:
        yield url


def report(measured: Measured, rounds: int, brokers: Sequence[str]) -> str:
    """Return the result as a page."""
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("bullmq", "redis", "hiredis", "aiormq")
    )
    peers = ", ".join(sorted({r for s in (*REDIS, *RABBITMQ) for r in s.requirements if "==" in r}))
    how = f"`make bench BENCH=queue`: {rounds} rounds in rotation, no-op job, one process"
    versions += f", from npm {', '.join(servers.NODE_PACKAGES)}, peers {peers}"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, shared"
    lines = [
        "# Throughput of the job queue",
        "",
        f"{how}; median (lowest to highest).",
        f"Python {platform.python_version()}, {versions}; {machine}.",
        "",
        "Peers have no call for a batch, or results that are not asked for: no number there.",
    ]
    for broker in brokers:
        systems = systems_on(broker)
        lines += ["", f"## On {broker}", "", f"| | {' | '.join(m.title for m in MEASURES)} |"]
        lines.append(f"|---|{'---|' * len(MEASURES)}")
        for system in systems:
            found = [measured.get((broker, system.title, m.title)) for m in MEASURES]
            if not any(found):
                continue
            cells = [cell(values, m.unit) for values, m in zip(found, MEASURES, strict=True)]
            lines.append(f"| {system.title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cell(values: list[float] | None, unit: str) -> str:
    """Return the median of measured values, and their range."""
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
    parser.add_argument("--on", choices=BROKERS, help="one broker only")
    parser.add_argument("--systems", default="", help="only those this expression is found in")
    parser.add_argument("--measures", default="", help="only those this expression is found in")
    chosen = parser.parse_args()
    if chosen.save and (chosen.on or chosen.systems or chosen.measures):
        parser.error("a part is not saved: the table holds everything from one run")
    brokers = [chosen.on] if chosen.on else BROKERS
    measured: Measured = {}
    measures = [each for each in MEASURES if search(chosen.measures, each.title)]
    for key, value in measurements(chosen.rounds, brokers, chosen.systems, measures):
        measured.setdefault(key, []).append(value)
    page = report(measured, chosen.rounds, brokers)
    print(page)
    if chosen.save:
        RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
