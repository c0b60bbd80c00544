"""What a worker keeps of a million jobs, and what it costs while there are none.

Publisher and worker in one process, no-op jobs, all guarantees on: memory after the first tenth and
at the end, file descriptors, tasks, keys in Redis; then the processor time of an idle worker.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from scripts import servers
from scripts.tools import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "queue_memory.md"
BATCH = 5_000
IDLE_SECONDS = 20.0
ENGINES = ("bullmq", "rabbitmq")


def _resident() -> float:
    """Return the memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _descriptors() -> int:
    """Return how many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def _sample(side: Any) -> dict[str, float]:
    redis = side.redis()
    keys = await redis.dbsize()
    await redis.aclose()
    return {
        "memory": _resident(),
        "descriptors": _descriptors(),
        "tasks": len(asyncio.all_tasks()),
        "keys": keys,
    }


async def _measure(asked: dict[str, Any]) -> dict[str, Any]:
    from benchmarks.queue_sides.common import Asked  # noqa: PLC0415 - with the next line
    from benchmarks.queue_sides.plinth import Plinth, maker  # noqa: PLC0415 - needs the payload

    jobs = asked.pop("jobs")
    side = await maker(Plinth)(Asked(**asked, what="memory", jobs=jobs, concurrency=100))
    done = 0
    reached = asyncio.Event()

    def handle(_value: float) -> None:
        nonlocal done
        done += 1
        reached.set()

    await side.work(100, handle)
    samples: list[dict[str, float]] = []
    for published in range(BATCH, jobs + 1, BATCH):
        for _ in range(BATCH // 500):
            await side.publish_batch([0.0] * 500)
        while done < published:
            reached.clear()
            await reached.wait()
        if published in {jobs // 10, jobs}:
            await asyncio.sleep(2)
            samples.append(await _sample(side))
    began, used = time.monotonic(), time.process_time()
    await asyncio.sleep(IDLE_SECONDS)
    idle = (time.process_time() - used) / (time.monotonic() - began)
    await side.stop()
    return {"samples": samples, "idle": idle}


def _in_process(engine: str, jobs: int) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        port = stack.enter_context(servers.plain_redis(folder / "redis"))
        broker = ""
        if engine == "rabbitmq":
            broker = stack.enter_context(servers.rabbitmq(folder / "rabbitmq"))
        asked = {"port": port, "broker": broker, "prefix": "memory", "jobs": jobs}
        env = {**os.environ, "APP_ENV_FILE": "", "LOG_LEVEL": "WARNING"}
        env["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "template" / "src")])
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.queue_memory", "--here", json.dumps(asked)],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(jobs: int) -> str:
    """Measure both engines; return the result as a page."""
    lines = [
        "# Memory and idle cost of a worker",
        "",
        f"`make bench BENCH=queue_memory`: {jobs:,} no-op jobs, publisher and worker in one",
        "process, 100 jobs at once; completed jobs are kept as the settings say (10,000).",
        "",
        "| engine | after | memory | descriptors | tasks | keys in Redis |",
        "|---|---|---|---|---|---|",
    ]
    idle = []
    for engine in ENGINES:
        found = _in_process(engine, jobs)
        for count, sample in zip((jobs // 10, jobs), found["samples"], strict=True):
            cells = f"{sample['memory']:.1f} MiB | {sample['descriptors']} | {sample['tasks']}"
            lines.append(f"| {engine} | {count:,} | {cells} | {sample['keys']:,} |")
        idle.append(f"{engine} {found['idle']:.2%}")
    lines += ["", f"An idle worker takes of one core: {', '.join(idle)}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and save on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--jobs", type=int, default=1_000_000, help="(default: 1000000)")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.here:
        print(json.dumps(asyncio.run(_measure(json.loads(chosen.here)))))
        return
    page = report(chosen.jobs)
    print(page)
    if chosen.save:
        RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
