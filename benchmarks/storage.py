"""What a large file costs: 1 GiB through the storage, on local disk and on S3, and the memory.

Each driver works in a process of its own, with files of two sizes: what grows between them is what
a file costs. S3 is moto's, which is written in Python: its speed is that of moto. To join the parts
of 1 GiB it takes 4.6 GB of memory and a minute in which it says nothing; where it does not get the
memory it answers 500 or is killed. So S3's large file needs a machine with that much to spare.
Memory is the peak of the resident set (getrusage) over that before the file.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from statistics import median
from urllib.request import Request, urlopen

from scripts import servers
from scripts.console import CommandError
from scripts.tools import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "storage.md"
SIZES = (64, 1024)
"""MiB."""
ROUNDS = 3
PROGRAM = """
import asyncio, json, resource, sys, time
from app.core.container import build_container
from app.core.discovery import Registry, discover
from app.core.lifecycle import Lifecycle
from app.core.settings import load_settings
from app.infrastructure.storage import FileStorage

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

async def stream(size):
    chunk = bytes(1 << 20)
    for _ in range(size):
        yield chunk

async def main(size):
    only = Registry(tuple(m for m in discover().modules if m.name == "storage"))
    settings = load_settings(only.modules)
    container = build_container(only, settings)
    async with Lifecycle(only, settings, container):
        storage = await container.get(FileStorage)
        await storage.put("small", b"x")
        before, begun = peak(), time.perf_counter()
        await storage.put("large", stream(size))
        put, there = peak(), time.perf_counter()
        async with storage.open("large") as download:
            read = 0
            async for chunk in download:
                read += len(chunk)
        assert read == size << 20
        ended = time.perf_counter()
        await storage.delete("large")
        speeds = size / (there - begun), size / (ended - there)
        print(json.dumps([speeds[0], put - before, speeds[1], peak() - put]))

asyncio.run(main(int(sys.argv[1])))
"""


def measure(size: int, environment: Mapping[str, str]) -> list[float]:
    """Return MiB/s and MiB of memory, of the upload and then of the download."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "template/src"), "APP_ENV_FILE": ""}
    env |= {"FILE_STORAGE_MAX_SIZE": str(2 << 30), **environment}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(size)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        message = f"{size} MiB on {environment['FILE_STORAGE_DRIVER']} failed:\n{done.stderr}"
        raise CommandError(message)
    return [float(number) for number in done.stdout.strip("[]\n").split(",")]


def main() -> None:
    """Measure, print, and keep the result."""
    parser = argparse.ArgumentParser(prog="benchmarks.storage", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds: int = parser.parse_args().rounds
    lines = ["| driver | file | upload | memory | download | memory |", "|---|---|---|---|---|---|"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(servers.moto(folder / "moto"))
        urlopen(Request(f"{url}/bench", method="PUT")).close()  # noqa: S310 - our own server
        places = {
            "local": {"FILE_STORAGE_DRIVER": "local", "FILE_STORAGE_LOCAL_DIR": str(folder / "f")},
            "s3": {
                "FILE_STORAGE_DRIVER": "s3",
                "S3_BUCKET_NAME": "bench",
                "S3_ENDPOINT_URL": url,
                "S3_ACCESS_KEY_ID": "bench",
                "S3_SECRET_ACCESS_KEY": "bench",
                # moto joins the parts of 1 GiB in Python: it is silent for long.
                "FILE_STORAGE_TIMEOUT": "600",
            },
        }
        for name, environment in places.items():
            for size in SIZES:
                try:
                    found = [measure(size, environment) for _ in range(rounds)]
                except CommandError:
                    said = (folder / "moto/server.log").read_text(errors="replace")
                    print("moto said:", *said.splitlines()[-15:], sep="\n")
                    raise
                up, memory, down, more = (median(column) for column in zip(*found, strict=True))
                lines.append(
                    f"| {name} | {size} MiB | {up:.0f} MiB/s | +{memory:.0f} MiB "
                    f"| {down:.0f} MiB/s | +{more:.0f} MiB |"
                )
                print(lines[-1], flush=True)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    versions = f"Python {platform.python_version()}, obstore {version('obstore')}"
    text = "\n".join(
        ["# Large files", "", f"Medians of {rounds} rounds. {machine}, {versions}.", "", *lines, ""]
    )
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
