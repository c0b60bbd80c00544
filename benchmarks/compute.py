"""Whether an API answers while a computation is going on, and what waiting for one costs.

One service under uvicorn, with a pool of two processes. Clients keep it busy with work that burns a
processor: in the pool, in a thread of the API (`asyncio.to_thread`), and in its event loop. Beside
them a cheap route is asked at a steady rate, and its answers are timed; the same with nothing else
to do comes first in each round. The sides take turns, the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles

from scripts.servers import free_port, port_answers, rabbitmq, wait_for
from scripts.tools import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "compute.md"
ROUNDS = 3
SECONDS = 5.0
RATE = 100
"""Requests a second to the cheap route."""
CLIENTS = 4
"""How many always wait for a computation."""
BURN = 0.2
"""Seconds of processor time of one."""
CALLS = 300
"""Computations of nothing, one after the other: what waiting costs."""
SOURCE = """
import asyncio, sys, time
import uvicorn
from dishka import FromDishka, Provider, Scope
from fastapi import APIRouter
from app.api import create_app
from app.core.discovery import Registry, discover
from app.core.module import Module
from app.core.routing import ScopedRoute
from app.infrastructure.compute import compute
from app.infrastructure.compute.pool import PoolCommand
from app.infrastructure.queue.process import main

def burn(seconds: float) -> int:
    until = time.thread_time() + seconds
    rounds = 0
    while time.thread_time() < until:
        rounds += 1
    return rounds

class Maths:
    @compute(attempts=1)
    def burn(self, seconds: float) -> int:
        return burn(seconds)

router = APIRouter(route_class=ScopedRoute)

@router.get("/cheap")
async def cheap() -> int:
    return 1

@router.get("/pool")
async def pool(seconds: float, maths: FromDishka[Maths]) -> int:
    return await maths.burn(seconds)

@router.get("/thread")
async def thread(seconds: float) -> int:
    return await asyncio.to_thread(burn, seconds)

@router.get("/loop")
async def loop(seconds: float) -> int:
    return burn(seconds)

provider = Provider(scope=Scope.REQUEST)
provider.provide(Maths)
probe = Module(
    name="probe",
    summary="measured",
    requires=("compute",),
    providers=(provider,),
    routers=(router,),
)
registry = Registry((*discover().modules, probe))
if __name__ == "__main__":
    if sys.argv[1] == "work":
        main(registry)
    else:
        own = Provider(scope=Scope.APP)
        command = PoolCommand((sys.executable, __file__, "work"))
        own.provide(lambda: command, provides=PoolCommand, override=True)
        uvicorn.run(
            create_app(registry=registry, overrides=[own]), port=int(sys.argv[2]), access_log=False,
            log_config=None, proxy_headers=False, server_header=False,
        )
"""
SIDES = {
    "idle": "nothing",
    "pool": f"{CLIENTS} clients, `@compute`: two worker processes",
    "thread": f"{CLIENTS} clients, `asyncio.to_thread` in the API",
    "loop": f"{CLIENTS} clients, in the event loop of the API",
}


@contextmanager
def serving(folder: Path, env: dict[str, str]) -> Iterator[int]:
    """Run the service; yield its port."""
    script = folder / "serve.py"
    script.write_text(SOURCE, encoding="utf-8")
    port = free_port()
    whole = {
        **os.environ,
        "APP_ENV_FILE": "",
        "APP_ROLE": "api",
        "APP_NAME": "bench-compute",
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "WARNING",
        "ENABLE_RATE_LIMITING": "false",
        "PYTHONPATH": str(ROOT / "template" / "src"),
        "DATABASE_URL": f"sqlite:///{folder / 'app.db'}",
        "REDIS_EMBEDDED_DIR": str(folder / "redis"),
        "COMPUTE_MIN_WORKERS": "2",
        "COMPUTE_MAX_WORKERS": "2",
        **env,
    }
    log = folder / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(script), "serve", str(port)],
            cwd=folder,
            env=whole,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: port_answers(port), process, log)
        yield port
    finally:
        process.terminate()
        process.wait()


class Client:
    """One connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use a connection."""
        self._reader = reader
        self._writer = writer
        self.body = b""
        """Of the last answer."""

    async def get(self, path: str) -> float:
        """Ask once; return the seconds until the answer was there."""
        began = time.perf_counter()
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, _, rest = head.partition(b"\r\n")
        if b" 200 " not in status:
            raise RuntimeError(status.decode())
        length = rest.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        self.body = await self._reader.readexactly(int(length))
        return time.perf_counter() - began


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    """Connect to the service."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def load(port: int, side: str, done: list[float]) -> None:
    """Always wait for one computation, until this is cancelled."""
    async with connected(port) as client:
        while True:
            done.append(await client.get(f"/{side}?seconds={BURN}"))


async def probe(port: int) -> list[float]:
    """Ask the cheap route at a steady rate, or as often as it answers; return the seconds."""
    took: list[float] = []
    async with connected(port) as client:
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end or len(took) < 2:  # noqa: PLR2004 - for a percentile
            took.append(await client.get("/cheap"))
            await asyncio.sleep(max(1 / RATE - took[-1], 0))
    return took


async def side_of(port: int, side: str) -> tuple[float, float, float]:
    """Return median and p99 of the cheap route in ms, and computations a second."""
    done: list[float] = []
    loads = []
    if side != "idle":
        loads = [asyncio.create_task(load(port, side, done)) for _ in range(CLIENTS)]
        await asyncio.sleep(2 * BURN)
        done.clear()
    began = time.perf_counter()
    took = await probe(port)
    rate = len(done) / (time.perf_counter() - began)
    for task in loads:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*loads, return_exceptions=True)
    await asyncio.sleep(CLIENTS * BURN + 1)  # what is left of it
    p99 = quantiles(took, n=100, method="inclusive")[98]
    return median(took) * 1000, p99 * 1000, rate


async def warm(port: int) -> None:
    """Wait until the pool is complete and has done something."""
    async with connected(port) as client:
        while b'"idle":2' not in client.body:
            await asyncio.sleep(0.5)
            await client.get("/health")
        for _ in range(10):
            await client.get("/cheap")
            await client.get("/pool?seconds=0")


async def waiting(port: int) -> tuple[float, float]:
    """Return median and p99 of a computation of nothing, less a cheap request, in ms."""
    async with connected(port) as client:
        cheap = median([await client.get("/cheap") for _ in range(CALLS)])
        took = [await client.get("/pool?seconds=0") - cheap for _ in range(CALLS)]
    return median(took) * 1000, quantiles(took, n=100)[98] * 1000


Measured = dict[str, list[tuple[float, float, float]]]


async def rounds(port: int) -> Measured:
    """Measure each side in every round, one after the other."""
    await warm(port)
    measured: Measured = {side: [] for side in SIDES}
    for number in range(1, ROUNDS + 1):
        print(f"round {number} of {ROUNDS}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
        for side in SIDES:
            found = await side_of(port, side)
            measured[side].append(found)
            middle, p99, rate = found
            print(f"  {side}: {middle:.1f} ms, p99 {p99:.1f} ms, {rate:.1f}/s", file=sys.stderr)
    return measured


def measure() -> tuple[Measured, dict[str, tuple[float, float]]]:
    """Measure everything."""
    waits: dict[str, tuple[float, float]] = {}

    async def both(port: int) -> tuple[Measured, tuple[float, float]]:
        return await rounds(port), await waiting(port)

    async def one(port: int) -> tuple[float, float]:
        await warm(port)
        return await waiting(port)

    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        folder = Path(name)
        with serving(folder, {"QUEUE_ENGINE": "bullmq"}) as port:
            measured, waits["bullmq"] = asyncio.run(both(port))
        url = stack.enter_context(rabbitmq(folder / "rabbitmq"))
        with serving(folder, {"QUEUE_ENGINE": "rabbitmq", "RABBITMQ_URL": url}) as port:
            waits["rabbitmq"] = asyncio.run(one(port))
    return measured, waits


def report(measured: Measured, waits: dict[str, tuple[float, float]]) -> str:
    """Return the result as a page."""
    idle = median(p99 for _, p99, _ in measured["idle"])
    versions = ", ".join(f"{name} {version(name)}" for name in ("fastapi", "uvicorn", "dishka"))
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, shared"
    how = (
        f"`make bench BENCH=compute`: {ROUNDS} rounds of {SECONDS:g} s a side in rotation, a cheap "
        f"route asked {RATE} times a second, computations of {BURN:g} s of processor time"
    )
    lines = [
        "# An API that computes",
        "",
        f"{how}; medians of the rounds.",
        f"Python {platform.python_version()}, {versions}; {machine}.",
        f"Load of all its users together: {os.getloadavg()[1]:.1f}.",
        "",
        "| beside it | cheap route, median | p99 | p99 / idle | p99 of each round | computed / s |",
        "|---|---|---|---|---|---|",
    ]
    for side, title in SIDES.items():
        middle = median(one for one, _, _ in measured[side])
        p99 = median(one for _, one, _ in measured[side])
        rate = median(one for _, _, one in measured[side])
        each = ", ".join(f"{one:.1f}" for _, one, _ in measured[side])
        lines.append(
            f"| {title} | {middle:.1f} ms | {p99:.1f} ms | {p99 / idle:.1f} | {each} | {rate:.1f} |"
        )
    lines += [
        "",
        f"What waiting for a free worker costs, over {CALLS} computations of nothing in a row:",
        "",
        "| engine | median | p99 |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {one:.1f} ms | {p99:.1f} ms |" for name, (one, p99) in waits.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and write the result where it is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    arguments = parser.parse_args()
    page = report(*measure())
    print(page)
    if arguments.save:
        RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
