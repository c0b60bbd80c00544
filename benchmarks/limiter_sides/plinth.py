"""This template's limiter: the store alone, and the whole service."""

from __future__ import annotations

import os
import tempfile

from app.core.settings import AppSettings
from app.infrastructure.rate_limiter.limits import By, limit
from app.infrastructure.rate_limiter.settings import RateLimiterSettings
from app.infrastructure.rate_limiter.store import Hit, RedisStore
from app.infrastructure.redis import KeySpace, RedisConnector
from app.infrastructure.redis.server import Server
from app.infrastructure.redis.settings import RedisSettings
from pydantic import SecretStr

from benchmarks.limiter_sides.common import RATE, main, per_request, throughput


async def request(port: int, *, limited: bool) -> float:
    """Measure a route of the service."""
    os.environ["REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
    os.environ["ENABLE_RATE_LIMITING"] = str(limited).lower()
    os.environ["RATE_LIMIT_DEFAULT"] = f"{RATE - 1}/minute"
    os.environ["LOG_LEVEL"] = "ERROR"
    from app.api import create_app  # noqa: PLC0415 - after the settings
    from app.core.discovery import Registry, discover  # noqa: PLC0415 - after the settings
    from app.core.module import Module  # noqa: PLC0415 - after the settings
    from fastapi import APIRouter  # noqa: PLC0415 - what is not measured is not loaded

    router = APIRouter()

    @router.get("/items/{item_id}")
    async def item(item_id: int) -> int:
        return item_id

    probe = Module(name="probe", summary="measured", routers=(router,))
    needed = ("health", "logger", "redis", "api", "rate_limiter")
    modules = (m for m in discover().modules if m.name in needed)
    app = create_app(registry=Registry((probe, *modules)))
    async with app.router.lifespan_context(app):
        return await per_request(app, "/items/7")


async def measure(port: int, what: str, checks: int) -> float:
    """Measure one thing."""
    if what in {"request", "bare request"}:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            return await request(port, limited=what == "request")
    settings = RedisSettings(redis_url=SecretStr(f"redis://127.0.0.1:{port}/0"))
    keys = KeySpace("bench")
    connector = RedisConnector(settings, AppSettings(app_name="bench"), Server(settings))
    store = RedisStore(connector, keys, RateLimiterSettings(rate_limit_timeout=5), settings)
    rates = f"{RATE - 1}/minute" + (f";{RATE - 1}/hour" if what == "two limits" else "")
    policies = limit(rates, by=By.ADDRESS, name="bench").policies

    async def check(caller: str) -> object:
        return await store.hit(
            [Hit(policy, keys.tagged(caller, "limit", policy.kind)) for policy in policies]
        )

    await store.start()
    try:
        return await throughput(check, checks, 1 if what == "one by one" else 50)
    finally:
        await store.stop()


if __name__ == "__main__":
    main(measure)
