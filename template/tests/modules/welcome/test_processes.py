"""The whole way, with real processes: request, row, event, job, mail."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.infrastructure.redis.keys import KeySpace
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("real_commits")]
PROGRAM = Path(__file__).with_name("program.py")
PATIENCE = 180.0
"""Seconds. What a process had taken when the machine paused comes again when its lease is over: an
event after 30, a job after 40."""
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not reached():  # noqa: ASYNC110 - other processes bring it about
            await asyncio.sleep(0.05)


@dataclass
class World:
    """A place where processes of the service run."""

    folder: Path
    env: Mapping[str, str]

    @asynccontextmanager
    async def running(self, name: str, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a process until the block ends; its output is kept."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *words, env=self.env, cwd=self.folder, stdout=log, stderr=log
            )
        try:
            yield process
        except TimeoutError:
            sys.stderr.write(self.printed(name))  # or nobody knows what it waited for
            raise
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), PATIENCE)

    @asynccontextmanager
    async def api(self, *how: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
        """Run the API until the block ends; yield its address."""
        port = free_port()
        words = [str(PROGRAM), str(port), *how] if how else ["-m", "app", "serve"]
        words += [] if how else ["--port", str(port)]
        async with self.running("api", *words) as process:
            url = f"http://127.0.0.1:{port}"
            async with httpx2.AsyncClient(trust_env=False) as http, asyncio.timeout(PATIENCE):
                while not await answers(http, f"{url}/health/live"):
                    assert process.returncode is None, self.printed("api")
                    await asyncio.sleep(0.05)
            yield url, process

    def worker(self) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
        """Run a worker until the block ends."""
        return self.running("worker", "-m", "app", "worker")

    def mails(self) -> list[str]:
        """Return to whom the mails in the folder are, sorted."""
        found = (message_from_bytes(path.read_bytes(), policy=default) for path in self.files())
        return sorted(str(message["To"]) for message in found)

    def files(self) -> list[Path]:
        """Return the files of the mails."""
        return list((self.folder / "mail").glob("*.eml"))

    def printed(self, name: str) -> str:
        """Return what processes of that name have printed."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8")

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of their log."""
        text = self.printed(name).splitlines()
        return [json.loads(line) for line in text if line.startswith("{")]


async def answers(http: httpx2.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx2.TransportError:
        return False


@pytest.fixture
def world(
    tmp_path: Path,
    test_database_url: str,
    redis_url: str,
    keys: KeySpace,
    engine_environment: Mapping[str, str],
) -> World:
    """Processes that share a database, a queue and a folder for mails."""
    env = {
        **os.environ,
        "APP_NAME": keys.prefix,
        "DATABASE_URL": test_database_url,
        "REDIS_URL": redis_url,
        "MAIL_URL": f"file://{tmp_path / 'mail'}",
        "LOG_FORMAT": "json",
        "OUTBOX_PATIENCE": "0.2",
        "OUTBOX_POLL": "0.1",
        "DB_POOL_TIMEOUT": "60",  # a loaded machine is no database that is away
        "PYTHONPATH": os.pathsep.join(sys.path),
        **engine_environment,
    }
    return World(tmp_path, env)


async def register(url: str, name: str, **headers: str) -> int:
    """Register somebody; return the status, 0 where the process died."""
    body = {
        "name": name,
        "email": f"{name.lower()}@example.com",
        "password": "correct horse battery",
    }
    async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        try:
            return (await http.post(f"{url}/users", json=body, headers=headers)).status_code
        except httpx2.TransportError:
            return 0


async def test_a_registration_brings_a_mail_with_its_trace(world: World) -> None:
    """One, and none for a registration that is refused; the log names no address."""
    async with world.worker(), world.api() as (url, _):
        assert await register(url, "Ada", traceparent=TRACEPARENT) == 201
        assert await register(url, "Ada") == 409
        await until(lambda: len(world.files()) == 1)
        assert await register(url, "Bob") == 201
        await until(lambda: len(world.files()) == 2)
    assert world.mails() == ["ada@example.com", "bob@example.com"]

    (sent,) = [
        line
        for line in world.lines("worker")
        if line["message"].startswith("Mail sent") and line.get("trace_id") == TRACE
    ]
    assert sent["template"] == "welcome"
    assert sent["job_id"]
    assert "ada@example.com" not in world.printed("worker") + world.printed("api")


async def test_registrations_that_come_at_once_bring_a_mail_each(world: World) -> None:
    """Their handlers read a user and then write a job: on SQLite they are in each other's way."""
    names = [f"User{number}" for number in range(40)]
    async with world.worker(), world.api() as (url, _):
        assert await asyncio.gather(*(register(url, name) for name in names)) == [201] * len(names)
        await until(lambda: len(world.files()) == len(names))
    assert world.mails() == sorted(f"{name.lower()}@example.com" for name in names)


async def test_a_kill_around_the_commit_brings_one_mail_for_each_user(world: World) -> None:
    """Before it: neither user nor mail. Between commit and publish: the relay brings the mail."""
    for how, name in {"before": "Eve", "between": "Ada"}.items():
        async with world.api(how) as (url, process):
            assert await register(url, name) == 0
            assert await process.wait() < 0
    assert world.files() == []

    async with world.worker(), world.api() as (url, _):
        await until(lambda: len(world.files()) == 1)
        assert await register(url, "Ada") == 409  # she is there
        assert await register(url, "Eve") == 201  # she was not
        await until(lambda: len(world.files()) == 2)
    assert world.mails() == ["ada@example.com", "eve@example.com"]
    sent = [line for line in world.lines("worker") if line["message"].startswith("Mail sent")]
    assert len(sent) == 2
