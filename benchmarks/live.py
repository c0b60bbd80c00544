"""Live events to 500 clients of one process: gaps, duplicates, delay, memory.

One real API process under uvicorn, events over Redis Streams; the clients are connections of this
process. Half of the clients leave in the middle and come back with the last id they have seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from websockets.asyncio.client import connect

from scripts import servers
from scripts.tools import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "live.md"
PROGRAM = ROOT / "template/tests/infrastructure/live/program.py"
CLIENTS = 500
EVENTS = 100
PAUSE = 0.05
"""Seconds between two events."""
PATIENCE = 300.0
KIB = 1024
COLUMNS = (
    "gaps", "duplicates", "delay, median", "highest", "memory before", "with clients", "after",
    "for each client", "end with all connected",
)  # fmt: skip
DATA = b"data: "
IDENTIFIER = b"id: "


@dataclass
class Client:
    """What one client has got."""

    numbers: list[int] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    last: str = ""
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, event: dict[str, object], published: dict[int, float]) -> None:
        """Note an event."""
        data = event["data"]
        assert isinstance(data, dict)  # noqa: S101 - for mypy
        number = int(data["number"])
        self.numbers.append(number)
        self.delays.append(time.perf_counter() - published[number])


async def read_sse(port: int, client: Client, published: dict[int, float], until: int) -> None:
    """Read until an event has come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    seen = f"Last-Event-ID: {client.last}\r\n" if client.last else ""
    head = f"GET /events?channels=ticks HTTP/1.1\r\nHost: bench\r\n{seen}\r\n"
    writer.write(head.encode())
    try:
        async for line in reader:
            if line.startswith(DATA):
                event = json.loads(line[len(DATA) :])
                client.ready.set()
                if event.get("type") == "event":
                    client.take(event, published)
            elif line.startswith(IDENTIFIER):
                client.last = line[len(IDENTIFIER) :].strip().decode()
                if client.numbers and client.numbers[-1] >= until:
                    return
    finally:
        writer.close()


async def read_ws(port: int, client: Client, published: dict[int, float], until: int) -> None:
    """Read until an event has come."""
    after = f"&after={quote(client.last)}" if client.last else ""
    url = f"ws://127.0.0.1:{port}/ws?channels=ticks{after}"
    async with connect(url, compression=None, proxy=None, ping_interval=None) as socket:
        async for text in socket:
            message = json.loads(text)
            client.ready.set()
            client.last = message.get("position") or client.last
            if message["type"] == "event":
                client.take(message, published)
                if client.numbers[-1] >= until:
                    return


WAYS = {"server-sent events": read_sse, "WebSockets": read_ws}


def resident(pid: int) -> int:
    """Return the memory of a process in KiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0])


async def publish(port: int, first: int, count: int, published: dict[int, float]) -> None:
    """Publish events, one after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(first, first + count):
        published[number] = time.perf_counter()
        head = f"POST /publish?first={number} HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode())
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(b"null"))
        await asyncio.sleep(PAUSE)
    writer.close()


@dataclass
class Figures:
    """What came of one way."""

    gaps: int
    duplicates: int
    median: float
    highest: float
    before: int
    connected: int
    after: int
    clients: int
    ended: float
    code: int


async def measure(way: str, process: subprocess.Popen[bytes], port: int, clients: int) -> Figures:
    """Let clients follow one process while events are published."""
    read = WAYS[way]
    published: dict[int, float] = {}
    half = EVENTS // 2
    known = [Client() for _ in range(clients)]
    before = resident(process.pid)
    stay, leave = known[: clients // 2], known[clients // 2 :]
    staying = [asyncio.create_task(read(port, c, published, EVENTS)) for c in stay]
    leaving = [asyncio.create_task(read(port, c, published, half // 2)) for c in leave]
    await asyncio.gather(*(client.ready.wait() for client in known))
    connected = resident(process.pid)
    await publish(port, 1, half, published)
    await asyncio.gather(*leaving)
    for client in leave:
        client.ready.clear()
    back = [asyncio.create_task(read(port, c, published, EVENTS)) for c in leave]
    await publish(port, half + 1, EVENTS - half, published)
    await asyncio.gather(*staying, *back)
    after = resident(process.pid)
    # Some must be there when the process ends.
    open_ones = [Client(last=client.last) for client in known]
    last = [asyncio.create_task(read(port, c, published, EVENTS + 1)) for c in open_ones]
    await asyncio.gather(*(client.ready.wait() for client in open_ones))
    began = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(process.wait, PATIENCE)
    ended = time.perf_counter() - began
    await asyncio.gather(*last, return_exceptions=True)
    counts = [Counter(client.numbers) for client in known]
    delays = [delay for client in stay for delay in client.delays]
    return Figures(
        gaps=sum(EVENTS - len(count) for count in counts),
        duplicates=sum(count.total() - len(count) for count in counts),
        median=statistics.median(delays),
        highest=max(delays),
        before=before,
        connected=connected,
        after=after,
        clients=clients,
        ended=ended,
        code=code,
    )


def run(way: str, clients: int, redis: int, folder: Path) -> Figures:
    """Start a process, measure it, end it."""
    port = servers.free_port()
    path = os.pathsep.join([str(ROOT / "template" / "src"), str(PROGRAM.parent)])
    env = {
        **os.environ,
        "PYTHONPATH": path,
        "APP_ENV_FILE": "",
        "APP_NAME": f"bench-{port}",
        "REDIS_URL": f"redis://127.0.0.1:{redis}/0",
        "EVENT_BUS_TRANSPORT": "redis",
        "LIVE_CLIENTS_PER_ADDRESS": str(clients),
        "SHUTDOWN_GRACE": "10",
    }
    log = folder / f"{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(port)],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        servers.wait_for(lambda: servers.port_answers(port), process, log)
        return asyncio.run(asyncio.wait_for(measure(way, process, port, clients), PATIENCE))
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def report(found: dict[str, Figures]) -> str:
    """Return the result as a page."""
    parts = ", ".join(f"{n} {version(n)}" for n in ("fastapi", "uvicorn", "websockets", "redis"))
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, shared"
    clients = next(iter(found.values())).clients
    lines = [
        f"# Live events to {clients} clients of one process",
        "",
        f"`make bench BENCH=live`: {EVENTS} events, one each {PAUSE * 1000:g} ms, over Redis.",
        "Half of the clients leave after a quarter and come back with the last id they have seen.",
        "Delay: from before the request that publishes until all of the event was read; all",
        "clients are in one Python process on the same machine, which takes most of it.",
        f"Python {platform.python_version()}, {parts}; {machine}, load {os.getloadavg()[0]:.0f}.",
        "",
        f"| | {' | '.join(COLUMNS)} |",
        f"|---|{'---|' * len(COLUMNS)}",
    ]
    for way, f in found.items():
        each = (f.connected - f.before) / f.clients
        sizes = " | ".join(f"{kib / KIB:.0f} MiB" for kib in (f.before, f.connected, f.after))
        delays = f"{f.median * 1000:.0f} ms | {f.highest * 1000:.0f} ms"
        end = f"{f.ended:.1f} s, exit code {f.code}"
        lines.append(
            f"| {way} | {f.gaps} | {f.duplicates} | {delays} | {sizes} | {each:.0f} KiB | {end} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and save on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--clients", type=int, default=CLIENTS, help=f"default: {CLIENTS}")
    chosen = parser.parse_args()
    wanted = 2 * chosen.clients + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with servers.plain_redis(folder / "redis") as redis:
            found = {way: run(way, chosen.clients, redis, folder) for way in WAYS}
    page = report(found)
    print(page)
    if chosen.save:
        RESULTS.write_text(page, encoding="utf-8")
    if any(f.gaps or f.duplicates or f.code for f in found.values()):
        sys.exit("events were lost or came twice, or the process did not end well")


if __name__ == "__main__":
    main()
