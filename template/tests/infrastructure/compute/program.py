"""Processes for the tests: `serve PORT` is an API, `work` a worker; both of the tests' services."""

from __future__ import annotations

import os
import sys
from typing import Annotated

from dishka import FromDishka, Provider, Scope
from fastapi import APIRouter, FastAPI, Query

from app.api import create_app
from app.api.module import module as api_module
from app.api.server import serve
from app.core.discovery import Registry
from app.core.module import Module
from app.core.routing import ScopedRoute
from app.infrastructure.compute.module import module as compute_module
from app.infrastructure.compute.pool import Pool, PoolCommand
from app.infrastructure.deferred.module import module as deferred_module
from app.infrastructure.health.module import module as health_module
from app.infrastructure.logger.module import module as logger_module
from app.infrastructure.queue.module import module as queue_module
from app.infrastructure.queue.process import main
from app.infrastructure.redis.module import module as redis_module
from tests.infrastructure.compute.conftest import services
from tests.infrastructure.compute.services import Maths

router = APIRouter(route_class=ScopedRoute)
Seconds = Annotated[float, Query()]


@router.get("/cheap")
async def cheap() -> str:
    return "cheap"


@router.post("/burn")
async def burn(seconds: Seconds, word: str, maths: FromDishka[Maths]) -> int:
    return await maths.burn(seconds, word)


@router.post("/hang")
async def hang(maths: FromDishka[Maths]) -> None:
    await maths.hang(600)


@router.post("/leave")
async def leave(number: int, maths: FromDishka[Maths]) -> str:
    return (await maths.later(number)).id


@router.get("/pids")
async def pids(pool: FromDishka[Pool]) -> list[int]:
    return pool.pids


PROBE = Module(
    name="probe",
    summary="What the tests compute",
    requires=("compute", "api"),
    providers=(services(),),
    routers=(router,),
)
REGISTRY = Registry(
    (
        logger_module,
        health_module,
        api_module,
        redis_module,
        queue_module,
        deferred_module,
        compute_module,
        PROBE,
    )
)


def app() -> FastAPI:
    """Build the API, whose pool runs this program."""
    own = Provider(scope=Scope.APP)
    command = PoolCommand((sys.executable, __file__, os.environ.get("POOL_RUNS", "work")))
    own.provide(lambda: command, provides=PoolCommand, override=True)
    return create_app(registry=REGISTRY, overrides=[own])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", port]:
            name = "tests.infrastructure.compute.program:app"
            serve(host="127.0.0.1", port=int(port), app=name)
        case ["work"]:
            main(REGISTRY)
        case _:
            sys.exit(int(os.environ["POOL_EXIT"]))
