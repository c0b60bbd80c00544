"""What the whole HTTP stack costs: one route of a generated service against a bare FastAPI route.

Both run under uvicorn in a process of their own, with uvloop and httptools; the service writes its
access log as JSON to a file. wrk sends requests over loopback, the servers take turns, the median
of the rounds counts. Ratios hold; the requests per second are this machine's at that moment.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median

from scripts.servers import free_port, port_answers, wait_for
from scripts.tools import ROOT, install_debian

RESULTS = ROOT / "benchmarks" / "results" / "overhead.md"
CONNECTIONS = 16
SECONDS = 4
ROUNDS = 5
SOURCE = """
from uuid import UUID
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
import uvicorn

class Item(BaseModel):
    id: UUID
    name: str

ITEM = Item(id=UUID(int=1), name="one")

async def item(item_id: int) -> Item:
    return ITEM

def bare() -> FastAPI:
    app = FastAPI()
    app.get("/items/{item_id}")(item)
    return app

def service(route_class=None) -> FastAPI:
    from app.api import create_app
    from app.core.discovery import Registry, discover
    from app.core.module import Module
    from fastapi.routing import APIRoute
    router = APIRouter(route_class=route_class or APIRoute)
    router.get("/items/{item_id}")(item)
    probe = Module(name="probe", summary="measured", routers=(router,))
    # First, as in the bare application: how long the router searches is not the stack's cost.
    return create_app(registry=Registry((probe, *discover().modules)))

def scoped() -> FastAPI:
    from app.core.routing import ScopedRoute
    return service(ScopedRoute)

import sys
uvicorn.run(
    globals()[sys.argv[1]](), port=int(sys.argv[2]), access_log=False, log_config=None,
    proxy_headers=False, server_header=False,
)
"""
ROWS = {
    "bare": "bare FastAPI route",
    "service": "the service's stack: trace, access log, limits, headers, errors",
    "scoped": "the same with a container scope per request (`ScopedRoute`)",
}


@contextmanager
def serving(kind: str, folder: Path) -> Iterator[int]:
    """Run one of the applications; yield its port."""
    script = folder / "serve.py"
    script.write_text(SOURCE, encoding="utf-8")
    port = free_port()
    env = {
        **os.environ,
        "APP_ENV_FILE": "",
        "ENABLE_RATE_LIMITING": "false",  # one address sends all of it; see benchmarks/limiter.py
        "LOG_FORMAT": "json",
        "PYTHONPATH": str(ROOT / "template" / "src"),
        "DATABASE_URL": f"sqlite:///{folder / 'app.db'}",
        "REDIS_EMBEDDED_DIR": str(folder / "redis"),
    }
    log = folder / f"{kind}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(script), kind, str(port)],
            cwd=folder,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: port_answers(port), process, log)
        yield port
    finally:
        process.terminate()
        process.wait()


def requests_per_second(port: int) -> float:
    """Send requests for a few seconds; return how many were answered in one."""
    url = f"http://127.0.0.1:{port}/items/7"
    argv = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", url]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text:
        raise RuntimeError(text)
    found = re.search(r"Requests/sec:\s*([\d.]+)", text)
    if found is None:
        raise RuntimeError(text)
    return float(found[1])


def measure() -> dict[str, list[float]]:
    """Measure each application in every round, one after the other."""
    measured: dict[str, list[float]] = {kind: [] for kind in ROWS}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for number in range(1, ROUNDS + 1):
            print(f"round {number} of {ROUNDS}", file=sys.stderr)
            for kind in ROWS:
                with serving(kind, Path(name)) as port:
                    measured[kind].append(requests_per_second(port))
    return measured


def report(measured: dict[str, list[float]]) -> str:
    """Return the result as a page."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("fastapi", "uvicorn", "loguru"))
    base = median(measured["bare"])
    how = f"`make bench`: {ROUNDS} rounds of {SECONDS} s in rotation, {CONNECTIONS} connections"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, shared"
    lines = [
        "# Overhead of the HTTP stack",
        "",
        f"{how}; median (lowest to highest).",
        f"Python {platform.python_version()}, {versions}; {machine}.",
        "",
        "| application | requests/s | of bare |",
        "|---|---|---|",
    ]
    for kind, title in ROWS.items():
        values = measured[kind]
        middle = median(values)
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        lines.append(f"| {title} | {middle:,.0f} ({spread}) | {middle / base:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and save on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    save = parser.parse_args().save
    if not shutil.which("wrk") and not install_debian("wrk"):
        sys.exit("wrk is needed: `apt-get install wrk` or `brew install wrk`")
    page = report(measure())
    print(page)
    if save:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
