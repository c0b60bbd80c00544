"""A service with routes of all kinds, and the stores that count."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from dishka import Provider
from fastapi import APIRouter, Body, Depends, FastAPI, Header, Request
from httpx2 import ASGITransport, AsyncClient
from redis.asyncio import Redis
from starlette.routing import Mount

from app.api import create_app
from app.core.discovery import Registry, discover
from app.core.errors import UnauthorizedError
from app.core.module import Module
from app.core.routing import ScopedRoute
from app.core.settings import AppSettings, load_settings
from app.infrastructure.logger import set_user
from app.infrastructure.rate_limiter import (
    Algorithm,
    By,
    FromRequest,
    OnLimiterDown,
    limit,
    unlimited,
)
from app.infrastructure.rate_limiter.memory import MemoryStore
from app.infrastructure.rate_limiter.settings import RateLimiterSettings
from app.infrastructure.rate_limiter.store import RedisStore, Store
from app.infrastructure.redis import KeySpace, RedisConnector
from app.infrastructure.redis.embedded import binary
from app.infrastructure.redis.server import Server
from app.infrastructure.redis.settings import RedisSettings

Serve = Callable[..., AbstractAsyncContextManager["Client"]]
PATIENCE = 60.0
COUNTING_SECONDS = 5.0
"""How long counting may take where it is not the point: a server that shares two cores with other
tests may be asleep for longer than the 50 ms of production, and what it misses is let pass."""


class Client(AsyncClient):
    """Calls the service from a place of one's choice."""

    service: FastAPI

    def from_place(self, address: str) -> AsyncClient:
        """Return a client with another address."""
        transport = ASGITransport(self.service, raise_app_exceptions=False, client=(address, 1))
        return AsyncClient(transport=transport, base_url="http://test")


async def require_user(authorization: Annotated[str, Header()] = "") -> None:
    """Take the header's word for it."""
    if not authorization:
        raise UnauthorizedError
    set_user(authorization)


async def email(body: Annotated[dict[str, str], Body()]) -> str:
    return body["email"]


def tenant(request: Request) -> str:
    return request.headers.get("x-tenant", "")


router = APIRouter(route_class=ScopedRoute, prefix="/probe")
shared = Depends(limit("3/minute", name="shared"))


@router.get("/plain/{number}")
async def plain(number: int) -> int:
    return number


@router.get("/boom")
async def boom() -> None:
    raise RuntimeError


@router.get("/free", dependencies=[Depends(unlimited)])
async def free() -> str:
    return "free"


@router.get("/two", dependencies=[Depends(limit("2/minute;3/hour"))])
async def two() -> str:
    return "two"


@router.get("/one-shared", dependencies=[shared])
async def one_shared() -> str:
    return "one"


@router.get("/other-shared", dependencies=[shared])
async def other_shared() -> str:
    return "other"


@router.get("/key", dependencies=[Depends(limit("2/minute", by=By.API_KEY, name="key"))])
async def key() -> str:
    return "key"


@router.get("/tenant", dependencies=[Depends(limit("2/minute", by=FromRequest(tenant)))])
async def per_tenant() -> str:
    return "tenant"


@router.get("/everybody", dependencies=[Depends(limit("2/minute", by=By.ROUTE))])
async def everybody() -> str:
    return "everybody"


@router.get("/several/{number}", dependencies=[Depends(limit("2/minute", by=By.ROUTE))])
async def several(number: int) -> int:
    return number


@router.get("/mine", dependencies=[Depends(require_user), Depends(limit("2/minute", by=By.USER))])
async def mine() -> str:
    return "mine"


LOGIN = limit(
    "3/minute",
    by=(By.ADDRESS, email),
    name="login",
    algorithm=Algorithm.SLIDING_WINDOW,
    on_down=OnLimiterDown.CLOSED,
)


@router.post("/login", dependencies=[Depends(limit("9/minute", name="door")), Depends(LOGIN)])
async def login() -> str:
    return "welcome"


inner = APIRouter(prefix="/inner")


@inner.get("/{thing_id}", include_in_schema=False)  # there twice
async def innermost(thing_id: int) -> int:
    return thing_id


middle = APIRouter(prefix="/middle/{place}")
middle.include_router(inner)
outer = APIRouter(
    prefix="/outer", dependencies=[Depends(limit("5/minute", by=(By.ADDRESS, By.ROUTE)))]
)
outer.include_router(middle, dependencies=[Depends(limit("4/hour", name="branch"))])
nested = APIRouter(prefix="/nested")
nested.include_router(inner)
router.include_router(outer)
router.include_router(nested)

island = FastAPI()


@island.get("/palm/{number}")
async def palm(number: int) -> int:
    return number


@island.get("/guarded", dependencies=[Depends(limit("1/minute"))])
async def guarded() -> str:
    return "guarded"


ROOT = APIRouter(routes=[Mount("/island/{number}", island)])
PROBE = Module(name="probe", summary="Routes of all kinds", routers=(router, ROOT))


@pytest.fixture
def serve(
    overrides: list[Provider], monkeypatch: pytest.MonkeyPatch, limits_in_redis: None
) -> Serve:
    """Start the service with the probe and the given settings."""
    del limits_in_redis

    @asynccontextmanager
    async def start(*more: Provider, **environment: str) -> AsyncIterator[Client]:
        for name, value in {"RATE_LIMIT_TIMEOUT": str(COUNTING_SECONDS), **environment}.items():
            monkeypatch.setenv(name, value)
        registry = Registry((*discover().modules, PROBE))
        settings = load_settings(registry.modules)
        app = create_app(registry=registry, settings=settings, overrides=[*overrides, *more])
        transport = ASGITransport(app=app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            Client(transport=transport, base_url="http://test") as client,
        ):
            client.service = app
            yield client

    return start


@pytest.fixture
async def probe(serve: Serve) -> AsyncIterator[Client]:
    """The service with the probe, default settings."""
    async with serve() as client:
        yield client


def redis_store(settings: RedisSettings, keys: KeySpace, **changes: Any) -> RedisStore:
    """Return a store that counts at the server of the settings."""
    connector = RedisConnector(settings, AppSettings(), Server(settings))
    changes = {"rate_limit_timeout": COUNTING_SECONDS, **changes}
    return RedisStore(connector, keys, RateLimiterSettings(**changes), settings)


@pytest.fixture(params=["redis", "memory"])
async def store(request: pytest.FixtureRequest, keys: KeySpace) -> AsyncIterator[Store]:
    """Each of those that count."""
    if request.param == "memory":
        yield MemoryStore()
        return
    made = redis_store(request.getfixturevalue("redis_settings"), keys)
    await made.start()
    yield made
    await made.stop()


async def all_keys(redis: Redis, keys: KeySpace) -> list[str]:
    """Return the keys of the test."""
    return [key async for key in redis.scan_iter(match=f"{keys.prefix}:*")]


@dataclass
class Valkey:
    """A server that can be hung, killed and started again."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.folder / 's'}"

    def start(self) -> None:
        path = self.folder / "s"
        path.unlink(missing_ok=True)
        argv = [str(binary()), "--port", "0", "--unixsocket", str(path), "--save", ""]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd=self.folder)
        deadline = time.monotonic() + PATIENCE
        while not path.exists():
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)

    def send(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A server of this test alone."""
    server = Valkey(tmp_path_factory.mktemp("v"))
    server.start()
    yield server
    server.kill()
