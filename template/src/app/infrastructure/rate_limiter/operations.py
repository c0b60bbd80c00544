"""What `app limiter` does, and what it prints."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TypeVar
from urllib.parse import urlsplit

from dishka import AsyncContainer
from fastapi import FastAPI
from redis.asyncio import Redis

from app.core.discovery import discover
from app.core.errors import ConfigurationError
from app.core.service import in_service, part_of
from app.core.settings import load_settings
from app.infrastructure.rate_limiter.keys import UNNAMED, LimitKeys
from app.infrastructure.rate_limiter.middleware import limits_of
from app.infrastructure.rate_limiter.rates import Policy
from app.infrastructure.rate_limiter.routes import UNMATCHED, Operation, RouteTable
from app.infrastructure.rate_limiter.settings import RateLimiterSettings
from app.infrastructure.rate_limiter.store import Hit, RedisStore

ResultT = TypeVar("ResultT")

START_TIMEOUT = 30.0
"""Seconds in which the service of the demonstration must answer."""
DEMO_PATH = "/health/live"
"""Every service has it; it is exempt, unless told otherwise."""
DEMO_SETTINGS = {"RATE_LIMIT_DEFAULT": "50/minute", "RATE_LIMIT_EXEMPT": "/health/ready"}


def _with_redis(use: Callable[[AsyncContainer], Awaitable[ResultT]]) -> ResultT:
    # A look needs Redis and no more: the rest of the service stays as it is.
    return in_service(part_of(discover(), {"rate_limiter", "logger"}), use)


def routes() -> str:
    """Return a line for each route of the modules."""
    registry = discover()
    settings = load_settings(registry.modules).get(RateLimiterSettings)
    app = FastAPI(openapi_url=None)
    for module in registry.modules:
        for router in module.routers:
            app.include_router(router)
    table = [*RouteTable(app.routes), Operation(UNMATCHED, UNMATCHED)]
    default = settings.default_limit()
    rows = []
    for operation in table:
        found = limits_of(operation, default, settings.rate_limit_exempt)
        shown = [
            f"{policy.name} {policy.rate} {policy.algorithm}"
            for limit in found
            for policy in limit.policies
        ]
        rows.append(f"{operation.name:48} {', '.join(shown) or 'none'}")
    return "\n".join(rows)


def counters(limit: int) -> str:
    """Return a line for each counter."""

    async def look(container: AsyncContainer) -> list[str]:
        keys, store = await container.get(LimitKeys), await container.get(RedisStore)
        redis = await container.get(Redis)
        lines: set[str] = set()  # a key may be found twice
        async for key in redis.scan_iter(match=keys.pattern, count=1000):
            about = keys.read(key)
            if about is None or len(lines) == limit:
                continue
            policy = Policy.of_kind(about["name"], about["kind"])
            (verdict,) = await store.hit([Hit(policy, key, cost=0)])
            name = "" if about["name"] == UNNAMED else about["name"]
            lines.add(
                f"{about['caller']:40} {name:16} {about['route']:40} {policy.rate!s:12} "
                f"{verdict.left} left, more in {verdict.ends / 1000:.0f} s"
            )
        return sorted(lines)

    return "\n".join(_with_redis(look)) or "nothing is counted"


def reset(caller: str | None) -> int:
    """Forget the counters of a caller; None: of all. Return how many."""

    async def forget(container: AsyncContainer) -> int:
        keys, redis = await container.get(LimitKeys), await container.get(Redis)
        pattern = keys.caller_pattern(caller) if caller else keys.pattern
        found = 0
        async for key in redis.scan_iter(match=pattern, count=1000):
            about = keys.read(key)
            if about and caller in {None, about["caller"]}:
                found += await redis.unlink(key)
        return found

    return _with_redis(forget)


def demo(url: str | None, requests: int) -> str:
    """Send requests; return what was answered.

    Raises:
        ConfigurationError: the service does not answer.
    """
    if url is not None:
        return _send(url, requests)
    with _service() as place:
        return _send(place, requests)


def _send(url: str, requests: int) -> str:
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.netloc, timeout=START_TIMEOUT)
    answers: list[int] = []
    lines: list[str] = []
    try:
        for _ in range(requests):
            connection.request("GET", parts.path or "/")
            answer = connection.getresponse()
            body = answer.read().decode()
            if not answers or answers[-1] != answer.status:
                names = ("RateLimit-Policy", "RateLimit", "Retry-After")
                told = [f"{name}: {answer.getheader(name)}" for name in names]
                lines += [f"request {len(answers) + 1}: {answer.status}", *told, body, ""]
            answers.append(answer.status)
    except (OSError, HTTPException) as error:
        message = f"{url} does not answer ({error}): start the service, or leave out --url"
        raise ConfigurationError(message) from error
    finally:
        connection.close()
    lines += [f"{many} times {status}" for status, many in Counter(answers).items()]
    return "\n".join(lines)


@contextmanager
def _service() -> Iterator[str]:
    """Run this service on a free port; yield the address of a route with a limit of 50."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    name = {"APP_NAME": f"limiter-demo-{secrets.token_hex(4)}"}
    process = subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", "app", "serve", "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, **DEMO_SETTINGS, **name, "LOG_LEVEL": "ERROR"},
        stdin=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    yield f"http://127.0.0.1:{port}{DEMO_PATH}"
                    return
            time.sleep(0.05)
        message = "The service did not start: see above, and try `app serve`"
        raise ConfigurationError(message)
    finally:
        process.terminate()
        process.wait(START_TIMEOUT)
