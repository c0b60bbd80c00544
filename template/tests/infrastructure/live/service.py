"""Real processes of `program.py`, and clients of them."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from httpx2 import AsyncClient, Limits, Response, TransportError

from app.core.folders import APP_ROOT
from tests.ports import free_port

PROGRAM = Path(__file__).with_name("program.py")
PATIENCE = 60.0
"""Seconds for what should take a moment; a loaded machine may need more than that."""


@dataclass
class Api:
    """A running process."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    http: AsyncClient

    async def publish(self, **options: Any) -> None:
        answer = await self.http.post("/publish", params=options)
        assert answer.status_code == 200, answer.text

    async def counts(self) -> dict[str, Any]:
        """Return what the process says of its clients."""
        found: dict[str, Any] = (await self.http.get("/counts")).json()
        return found

    async def until(self, **wanted: int) -> None:
        """Wait until the counts are as they should be."""
        async with asyncio.timeout(PATIENCE):
            while True:
                counts = await self.counts()
                if all(counts.get(name.replace("_", " "), 0) == n for name, n in wanted.items()):
                    return
                await asyncio.sleep(0.05)

    async def end(self) -> int:
        """Send SIGTERM and wait for the end; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, PATIENCE)

    @asynccontextmanager
    async def stream(self, channels: str = "ticks", **options: Any) -> AsyncIterator[Stream]:
        """Open a stream of server-sent events; one that is refused is an error."""
        params = {"channels": channels}
        async with self.http.stream("GET", "/events", params=params, **options) as answer:
            assert answer.status_code == 200, (await answer.aread()).decode()
            yield Stream(answer)


@dataclass
class Sent:
    """One block of a stream."""

    event: str = "message"
    id: str | None = None
    retry: int | None = None
    comment: str | None = None
    data: Any = None


class Stream:
    """Reads server-sent events (HTML, section 9.2.6)."""

    def __init__(self, answer: Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()
        self.last_id: str | None = None

    async def next(self) -> Sent | None:
        """Return the next block; None at the end."""
        found = Sent()
        async with asyncio.timeout(PATIENCE):
            async for line in self._lines:
                if not line:
                    self.last_id = found.id or self.last_id
                    return found
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "data":
                    found.data = json.loads(value)
                elif name == "retry":
                    found.retry = int(value)
                else:
                    setattr(found, name or "comment", value)
        return None

    async def events(self, count: int) -> list[dict[str, Any]]:
        """Return so many events, whatever else comes between."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            block = await self.next()
            assert block is not None, "the stream has ended"
            if block.event == "message" and block.data is not None:
                found.append(block.data)
        return found

    async def numbers(self, count: int) -> list[int]:
        """Return the numbers of so many events."""
        return [event["data"]["number"] for event in await self.events(count)]

    async def until(self, event: str) -> Sent:
        """Return the next block of that kind."""
        while block := await self.next():
            if block.event == event:
                return block
        message = f"the stream has ended before {event}"
        raise AssertionError(message)


@asynccontextmanager
async def serving(folder: Path, env: Mapping[str, str]) -> AsyncIterator[Api]:
    """Run a process until the block ends."""
    port = free_port()
    log = folder / f"api-{port}.log"
    path = os.pathsep.join(map(str, (APP_ROOT.parent, PROGRAM.parent)))
    limits = Limits(max_connections=None)
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: ASYNC220 - asyncio's own does not outlive its loop
            [sys.executable, str(PROGRAM), str(port)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "APP_ENV_FILE": "", **env},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        async with AsyncClient(
            base_url=url, timeout=PATIENCE, limits=limits, trust_env=False
        ) as http:
            api = Api(port, process, log, http)
            await until_ready(api)
            yield api
    finally:
        if process.poll() is None:
            process.kill()
        await asyncio.to_thread(process.wait, PATIENCE)


async def until_ready(api: Api) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            assert api.process.poll() is None, api.log.read_text()
            try:
                if (await api.http.get("/health/ready")).status_code == 200:
                    return
            except TransportError:
                pass
            await asyncio.sleep(0.05)


def shared(redis_url: str) -> dict[str, str]:
    """Return what lets processes hear each other, and no others."""
    return {
        "APP_NAME": f"test-{secrets.token_hex(6)}",
        "REDIS_URL": redis_url,
        "EVENT_BUS_TRANSPORT": "redis",
    }
