"""Worker processes, and what is left of what they did."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from app.infrastructure.queue import patience
from app.infrastructure.redis.keys import KeySpace

PROGRAM = Path(__file__).with_name("program.py")
PATIENCE = 150.0


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was said by tests before: an outage that has just been told is not told again."""
    monkeypatch.setattr(patience._Voice, "last_line", -math.inf)
    monkeypatch.setattr(patience._Voice, "last_end", -math.inf)


class Ledger:
    """What the jobs of all processes did."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[list[str]]:
        """Return its lines, as words."""
        if not self.path.exists():
            return []
        return [line.split() for line in self.path.read_text(encoding="utf-8").splitlines()]

    def count(self, what: str) -> Counter[str]:
        """Return how often something happened, by job."""
        return Counter(words[1] for words in self.lines() if words[0] == what)

    def has_started(self, times: int) -> bool:
        """Tell whether that many attempts were begun."""
        return self.count("start").total() >= times

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for a state."""
        async with asyncio.timeout(PATIENCE):
            while not reached():  # noqa: ASYNC110 - other processes write it
                await asyncio.sleep(0.02)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """An empty ledger."""
    return Ledger(tmp_path / "ledger")


Processes = Callable[..., AbstractAsyncContextManager["subprocess.Popen[bytes]"]]


@pytest.fixture
def processes(
    engine_environment: Mapping[str, str],
    redis_url: str,
    keys: KeySpace,
    ledger: Ledger,
) -> Processes:
    """Start worker processes on the queues of the test."""

    @asynccontextmanager
    async def start(*words: str, **settings: object) -> AsyncIterator[subprocess.Popen[bytes]]:
        env = {
            **os.environ,
            "APP_NAME": keys.prefix,
            "APP_ROLE": "worker",
            "APP_ENV_FILE": "",
            "REDIS_URL": redis_url,
            **engine_environment,
            "QUEUE_LOCK": "1.5",
            "LEDGER": str(ledger.path),
            "PYTHONPATH": os.pathsep.join(sys.path),
            **{name.upper(): str(value) for name, value in settings.items()},
        }
        argv = [sys.executable, str(PROGRAM), *words]
        process = subprocess.Popen(argv, env=env)  # noqa: ASYNC220 - it is waited for elsewhere
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(process.wait, PATIENCE)

    return start
