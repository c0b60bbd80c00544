"""A headless Chromium, spoken to over a pipe (Chrome DevTools Protocol): nothing to install."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0
OPTIONS = (
    "--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run",
    "--disable-dev-shm-usage", "--no-proxy-server", "--disable-background-networking",
)  # fmt: skip


def program() -> str | None:
    """Return the path of a Chromium, None if there is none."""
    return os.environ.get("TEST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One page of a browser."""

    def __init__(self, reader: asyncio.StreamReader, pipe: int) -> None:
        self._reader = reader
        self._pipe = pipe
        self._number = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        """What the browser has written to the console: scripts that were refused, errors."""

    async def begin(self) -> None:
        """Open it."""
        target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
        found = await self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Log", "Runtime", "Page"):
            await self.call(f"{domain}.enable")

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol; return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._pipe, json.dumps(message).encode() + b"\0")
        while True:
            async with asyncio.timeout(PATIENCE):
                answer = json.loads((await self._reader.readuntil(b"\0"))[:-1])
            if answer.get("method") in {"Log.entryAdded", "Runtime.exceptionThrown"}:
                self.complaints.append(json.dumps(answer["params"]))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                found: dict[str, Any] = answer["result"]
                return found

    async def value(self, expression: str) -> Any:
        """Return what an expression of JavaScript is in the page."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until it is true."""
        async with asyncio.timeout(PATIENCE):
            while not await self.value(expression):  # noqa: ASYNC110 - the browser brings it about
                await asyncio.sleep(0.1)


@asynccontextmanager
async def open_page(folder: Path) -> AsyncIterator[Page]:
    """Run a browser with one page until the block ends."""
    to_browser, ours_out = os.pipe()
    ours_in, from_browser = os.pipe()
    words = [program() or "", *OPTIONS, f"--user-data-dir={folder}"]
    if os.geteuid() == 0:
        words.append("--no-sandbox")  # it refuses to run as root otherwise
    # The protocol is spoken on the descriptors 3 and 4.
    script = f"exec {shlex.join(words)} 3<&{to_browser} 4>&{from_browser}"
    with (folder / "chromium.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            script,
            pass_fds=(to_browser, from_browser),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "HOME": str(folder)},
        )
    os.close(to_browser)
    os.close(from_browser)
    reader = asyncio.StreamReader(limit=2**24)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours_in, "rb")
    )
    try:
        page = Page(reader, ours_out)
        await page.begin()
        yield page
    finally:
        os.close(ours_out)
        transport.close()
        if process.returncode is None:
            process.kill()
        await process.wait()
