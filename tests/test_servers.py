"""The servers the tests run on: real, private, gone afterwards."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import redis
from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine

from scripts import servers
from scripts.console import CommandError


@pytest.fixture(params=["installed", "wheel"])
def origin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the programs come from. Those of the wheels must do where nothing is installed."""
    if request.param == "wheel":
        monkeypatch.setattr(shutil, "which", lambda _: None)
        monkeypatch.setattr(servers, "DEBIAN_POSTGRES", Path("no-such-place"))
    return str(request.param)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder other accounts may pass through, as `make test` makes them."""
    made = tmp_path_factory.mktemp("servers")
    for parent in (made, *made.parents[:3]):
        if parent.owner() == made.owner():
            parent.chmod(parent.stat().st_mode | 0o055)
    return made


async def select_one(url: str) -> int:
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    try:
        async with engine.connect() as connection:
            found: int = (await connection.execute(select(1))).scalar_one()
    finally:
        await engine.dispose()
    return found


def test_postgres_serves_while_it_is_needed(origin: str, folder: Path) -> None:
    with servers.postgres(folder / origin) as url:
        assert asyncio.run(select_one(url)) == 1
    with pytest.raises(OSError, match="Connect call failed"):
        asyncio.run(select_one(url))


def test_redis_serves_while_it_is_needed(origin: str, folder: Path) -> None:
    with servers.redis(folder / origin) as url, redis.Redis.from_url(url) as client:
        assert client.ping() is True
    with pytest.raises(redis.ConnectionError), redis.Redis.from_url(url) as client:
        client.ping()


@pytest.mark.parametrize("server", [servers.postgres, servers.redis])
def test_a_server_nobody_has_is_asked_for(
    server: Callable[[Path], AbstractContextManager[str]],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message names the command that provides it."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(servers, "DEBIAN_POSTGRES", Path("no-such-place"))
    monkeypatch.setattr(servers, "VENV", Path("no-such-place"))
    with pytest.raises(CommandError, match="apt-get install"), server(folder / "server"):
        pass


def test_a_server_that_ends_at_once_shows_its_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/ls")
    with pytest.raises(CommandError, match="unrecognized option"), servers.redis(folder / "redis"):
        pass
