"""A service with routes that misbehave on purpose."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, Literal

import pytest
from dishka import Provider
from fastapi import APIRouter, Body, Header, Query, Request
from fastapi.responses import StreamingResponse
from httpx2 import ASGITransport, AsyncClient
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from app.api import create_app
from app.core.discovery import Registry, discover
from app.core.errors import AppError, ConflictError, ServiceUnavailableError
from app.core.module import Module
from app.core.problems import problem_responses
from app.core.routing import ScopedRoute
from app.core.settings import load_settings

Serve = Callable[..., AbstractAsyncContextManager[AsyncClient]]

router = APIRouter(route_class=ScopedRoute, prefix="/probe")


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Thing(BaseModel):
    name: str = Field(min_length=2, max_length=20)
    sizes: list[int] = Field(default_factory=list)
    pet: Annotated[Cat | Dog | None, Field(discriminator="kind")] = None
    extra: dict[str, Any] = Field(default_factory=dict)


@router.post("/things", status_code=201)
async def create_thing(thing: Thing) -> Thing:
    return thing


@router.get("/things/{thing_id}")
async def get_thing(
    thing_id: int,
    page: Annotated[int, Query(ge=1)] = 1,
    x_mode: Annotated[Literal["a", "b"], Header()] = "a",
) -> dict[str, int | str]:
    return {"id": thing_id, "page": page, "mode": x_mode}


@router.get("/conflict", responses=problem_responses(ConflictError))
async def conflict() -> None:
    raise ConflictError(headers={"Retry-After": "7"}, other="thing-1", type="mine")


@router.get("/unavailable")
async def unavailable() -> None:
    raise ServiceUnavailableError


@router.get("/status/{code}")
async def bare_status(code: int) -> None:
    raise HTTPException(code)


@router.get("/boom")
async def boom() -> None:
    message = "postgresql://user:hunter2@db/prod"
    raise RuntimeError(message)


@router.get("/our-fault")
async def our_fault() -> None:
    raise AppError


@router.get("/wrong-answer", response_model=Thing)
async def wrong_answer() -> dict[str, str]:
    return {"name": ""}


@router.get("/half")
async def half() -> StreamingResponse:
    async def body() -> AsyncIterator[bytes]:
        yield b"begin"
        message = "lost the source"
        raise RuntimeError(message)

    return StreamingResponse(body())


@router.post("/small", max_body_size=10)
async def small(body: Annotated[str, Body()]) -> int:
    return len(body)


@router.post("/large", max_body_size=10_000_000)
async def large(request: Request) -> int:
    return len(await request.body())


@router.post("/unread")
async def unread() -> str:
    return "nothing was read"


@router.get("/own-policy")
async def own_policy() -> StreamingResponse:
    return StreamingResponse(iter(()), headers={"Content-Security-Policy": "sandbox"})


PROBE = Module(name="probe", summary="Misbehaves on purpose", routers=(router,))


@pytest.fixture
def serve(overrides: list[Provider], monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Start the service with the probe and the given settings, such as `CORS_ORIGINS`."""

    @asynccontextmanager
    async def start(*modules: Module, **environment: str) -> AsyncIterator[AsyncClient]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        registry = Registry((*discover().modules, PROBE, *modules))
        settings = load_settings(registry.modules)
        app = create_app(registry=registry, settings=settings, overrides=overrides)
        transport = ASGITransport(app=app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            yield client

    return start


@pytest.fixture
async def probe(serve: Serve) -> AsyncIterator[AsyncClient]:
    """The service with the probe, default settings."""
    async with serve() as client:
        yield client
