"""`app limiter …`."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.core.errors import ConfigurationError
from app.core.folders import APP_ROOT
from app.infrastructure.rate_limiter import commands, operations
from app.infrastructure.redis import KeySpace
from tests.infrastructure.rate_limiter.conftest import COUNTING_SECONDS, Serve


@pytest.fixture
def environment(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, keys: KeySpace
) -> pytest.MonkeyPatch:
    """Let commands look where the tests count."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("APP_NAME", keys.prefix)
    return monkeypatch


def run(*words: str) -> str:
    done = CliRunner().invoke(commands.app, [*words])
    assert done.exit_code == 0, done.output
    return done.output


async def in_thread(*words: str) -> str:
    """Commands run a loop of their own."""
    return await asyncio.to_thread(run, *words)


def test_routes_shows_what_holds_for_each() -> None:
    words = [line.split(maxsplit=2) for line in run("routes").splitlines()]
    lines = {path: text for _, path, text in words if path.startswith("/")}

    assert lines["/health/live"] == "none"
    assert all(
        text == "default 100/60s fixed-window"
        for path, text in lines.items()
        if not path.startswith("/health")
    )


async def test_counters_can_be_seen_and_forgotten(
    serve: Serve, environment: pytest.MonkeyPatch
) -> None:
    del environment
    async with serve() as client:
        for _ in range(3):
            await client.get("/probe/plain/1")
        await client.get("/probe/mine", headers={"authorization": "ada"})
        seen = await in_thread("list")
        assert re.search(
            r"address=127\.0\.0\.1 +default +GET /probe/plain/\{number\} +100/60s", seen
        )
        assert "97 left" in seen
        assert re.search(r"user=ada +GET /probe/mine +2/60s +1 left", seen)

        assert await in_thread("reset", "user=ada") == "1 forgotten\n"
        assert "ada" not in await in_thread("list")
        assert await in_thread("reset", "--all") == "1 forgotten\n"
        assert await in_thread("list") == "nothing is counted\n"
        answer = await client.get("/probe/plain/1")
        assert answer.headers["ratelimit"].startswith('"default";r=99')


@pytest.mark.parametrize(
    ("path", "user", "shown"),
    [
        ("mine", "auth0|ada", "user=auth0|ada"),
        ("mine", "a*,b", "user=a*,b"),
        ("everybody", "", "route=GET /probe/everybody"),
        ("several/7", "", "route=GET /probe/several/{number}"),
    ],
)
async def test_a_caller_is_forgotten_by_the_name_the_list_shows(
    serve: Serve, environment: pytest.MonkeyPatch, path: str, user: str, shown: str
) -> None:
    del environment
    async with serve() as client:
        await client.get(f"/probe/{path}", headers={"authorization": user})
        await client.get("/probe/mine", headers={"authorization": "a*,,b"})
        assert shown in await in_thread("list")

        assert await in_thread("reset", shown) == "1 forgotten\n"
        assert shown not in await in_thread("list")


@pytest.mark.parametrize("words", [[], ["user=ada", "--all"]])
def test_reset_wants_a_caller_or_all(words: list[str]) -> None:
    done = CliRunner().invoke(commands.app, ["reset", *words])

    assert done.exit_code == 2
    assert "name a caller, or say --all" in done.output


@pytest.mark.slow
def test_the_demonstration_shows_50_and_5(redis_url: str, tmp_path: Path) -> None:
    """The service itself, in a process of its own."""
    words = [sys.executable, "-m", "app", "limiter", "demo"]
    paths = {**os.environ, "PYTHONPATH": str(APP_ROOT.parent), "REDIS_URL": redis_url}
    paths["RATE_LIMIT_TIMEOUT"] = str(COUNTING_SECONDS)
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, cwd=tmp_path, env=paths, timeout=120
    )

    assert done.stdout.endswith("50 times 200\n5 times 429\n")
    assert 'RateLimit-Policy: "default";q=50;w=60' in done.stdout


def test_a_demonstration_without_a_service_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="start the service, or leave out --url"):
        operations.demo("http://127.0.0.1:9", 1)
