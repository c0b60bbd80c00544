"""A service whose requests take their time; `test_server` runs it as a process of its own.

python slow_service.py PORT [WORKERS] [refuse | stuck]
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from dishka import AsyncContainer
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import StreamingResponse

from app.api import create_app
from app.api.server import serve
from app.core.discovery import Registry, discover
from app.core.errors import ConfigurationError
from app.core.module import Module
from app.infrastructure.health import Readiness

router = APIRouter()
MARK = Path("slow-request-has-arrived")
RELEASE = Path("held-requests-may-end")
MODE = "SLOW_SERVICE_MODE"


@router.get("/slow")
async def slow(seconds: float) -> int:
    MARK.touch()  # noqa: ASYNC240 - an empty file, for the test to see
    await asyncio.sleep(seconds)
    return os.getpid()


@router.get("/held")
async def held() -> int:
    MARK.touch()  # noqa: ASYNC240 - an empty file, for the test to see
    while not RELEASE.exists():  # noqa: ASYNC110, ASYNC240 - the test makes it
        await asyncio.sleep(0.02)
    return os.getpid()


@router.get("/stream")
async def stream(request: Request) -> StreamingResponse:
    readiness = await request.app.state.dishka_container.get(Readiness)

    async def body() -> AsyncIterator[bytes]:
        yield b"begin "
        await readiness.stopping.wait()
        yield b"end"

    return StreamingResponse(body())


async def start(_: AsyncContainer) -> None:
    if os.environ.get(MODE) == "refuse":
        message = "Set THE_OTHER_THING=1"
        raise ConfigurationError(message)


async def stop(_: AsyncContainer) -> None:
    sys.stderr.write("slow has stopped\n")
    if os.environ.get(MODE) == "stuck":
        time.sleep(60)  # noqa: ASYNC251 - a loop that is blocked for good is what is tested


def create() -> FastAPI:
    """Build the service with what is always there, and the slow routes."""
    always = [module for module in discover().modules if module.name in {"api", "health", "logger"}]
    module = Module(
        name="slow", summary="Takes its time", routers=(router,), startup=start, shutdown=stop
    )
    return create_app(registry=Registry((*always, module)))


if __name__ == "__main__":
    port, workers = map(int, sys.argv[1:3])
    serve(host="127.0.0.1", port=port, workers=workers, app="slow_service:create")
