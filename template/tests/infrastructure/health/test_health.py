"""Liveness asks nothing, readiness asks every part, and neither tells a secret."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from dishka import AsyncContainer, Provider, Scope
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from loguru import logger

from app.api import create_app
from app.core.clock import Clock, ManualClock
from app.core.discovery import Registry, discover
from app.core.health import HealthCheck, HealthReport, HealthStatus
from app.core.module import Module
from app.core.settings import load_settings
from app.infrastructure.health import Readiness

Serve = Callable[..., AbstractAsyncContextManager[AsyncClient]]
BASE = ("api", "health", "logger")
"""Without the checks of optional modules the expectations hold in every service."""


class Part:
    """A part of the service whose health the test decides."""

    def __init__(self) -> None:
        self.calls = 0
        self.report: HealthReport | Exception = HealthReport()

    async def check(self, _: AsyncContainer) -> HealthReport:
        self.calls += 1
        await asyncio.sleep(0)
        if isinstance(self.report, Exception):
            raise self.report
        return self.report


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def serve(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Start a service with some checks and settings, as an async context manager."""
    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: clock, provides=Clock, override=True)

    @asynccontextmanager
    async def start(*checks: HealthCheck, **environment: str) -> AsyncIterator[AsyncClient]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        probe = Module(name="probe", summary="Checked", health_checks=checks)
        base = (module for module in discover().modules if module.name in BASE)
        registry = Registry((*base, probe))
        app = create_app(
            registry=registry, settings=load_settings(registry.modules), overrides=[provider]
        )
        async with app.router.lifespan_context(app), talk(app) as client:
            yield client

    return start


def talk(app: FastAPI) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(app=app), base_url="http://test")


@pytest.fixture
def errors() -> Any:
    records: list[Any] = []
    sink = logger.add(lambda message: records.append(message.record), level="INFO")
    yield records
    logger.remove(sink)


async def test_liveness_asks_no_part(serve: Serve) -> None:
    part = Part()
    part.report = RuntimeError()
    async with serve(HealthCheck(name="part", check=part.check)) as client:
        response = await client.get("/health/live")

    assert (response.status_code, response.json()) == (200, {"status": "up"})
    assert part.calls == 0


async def test_readiness_shows_each_part_with_its_latency(serve: Serve, clock: ManualClock) -> None:
    async def slow(_: AsyncContainer) -> HealthReport:
        clock.advance(timedelta(milliseconds=20))
        return HealthReport(details={"pool": 5})

    async with serve(HealthCheck(name="part", check=slow)) as client:
        response = await client.get("/health/ready")
        overview = await client.get("/health")

    assert response.status_code == 200
    body = response.json()
    assert (body["status"], body["phase"]) == ("up", "serving")
    assert body["checks"]["part"]["latency_ms"] == 20
    assert body["checks"]["part"]["details"] == {}
    assert overview.json()["checks"]["part"]["details"] == {"pool": 5}


@pytest.mark.parametrize(
    ("report", "critical", "status", "code"),
    [
        (HealthStatus.UP, True, "up", 200),
        (HealthStatus.DEGRADED, True, "degraded", 200),
        (HealthStatus.DOWN, True, "down", 503),
        (HealthStatus.DOWN, False, "degraded", 200),
    ],
)
async def test_only_a_critical_part_takes_the_service_out(
    serve: Serve, report: HealthStatus, critical: bool, status: str, code: int
) -> None:
    part, other = Part(), Part()
    part.report = HealthReport(report)
    checks = (
        HealthCheck(name="part", check=part.check, critical=critical),
        HealthCheck(name="other", check=other.check),
    )
    async with serve(*checks) as client:
        for path in ("/health/ready", "/health"):
            response = await client.get(path)
            assert (response.status_code, response.json()["status"]) == (code, status)
            assert response.headers["cache-control"] == "no-store"


async def test_a_failure_is_told_by_its_kind_only(serve: Serve) -> None:
    part = Part()
    part.report = ConnectionError("can't reach postgresql://app:hunter2@10.0.0.7/prod")
    async with serve(HealthCheck(name="part", check=part.check)) as client:
        for path in ("/health/ready", "/health"):
            response = await client.get(path)
            assert response.json()["checks"]["part"]["error"] == "ConnectionError"
            assert "hunter2" not in response.text
            assert "10.0.0.7" not in response.text


async def test_a_part_that_does_not_answer_is_down_after_its_timeout(serve: Serve) -> None:
    async def hang(_: AsyncContainer) -> HealthReport:
        await asyncio.Event().wait()
        return HealthReport()

    async with serve(HealthCheck(name="part", check=hang, timeout=0.01)) as client:
        response = await client.get("/health/ready")

    assert response.status_code == 503
    assert response.json()["checks"]["part"]["error"] == "no answer within 0.01 s"


async def test_parts_are_asked_at_the_same_time(serve: Serve) -> None:
    both = asyncio.Barrier(2)

    async def meet(_: AsyncContainer) -> HealthReport:
        await both.wait()
        return HealthReport()

    checks = [HealthCheck(name=name, check=meet, timeout=10) for name in ("a", "b")]
    async with serve(*checks) as client:
        assert (await client.get("/health/ready")).status_code == 200


async def test_results_are_reused_for_a_moment(serve: Serve, clock: ManualClock) -> None:
    part = Part()
    async with serve(HealthCheck(name="part", check=part.check), HEALTH_CACHE="2") as client:
        await asyncio.gather(*(client.get("/health/ready") for _ in range(20)))
        assert part.calls == 1
        clock.advance(timedelta(seconds=2))
        await client.get("/health/ready")
        assert part.calls == 2


async def test_a_change_is_logged_once_and_with_everything(serve: Serve, errors: list[Any]) -> None:
    part = Part()
    async with serve(HealthCheck(name="part", check=part.check), HEALTH_CACHE="0") as client:
        for report in (HealthReport(), ConnectionError("why"), HealthReport()):
            part.report = report
            for _ in range(3):
                await client.get("/health/ready")

    changes = [record for record in errors if "Health of part" in record["message"]]
    assert [record["level"].name for record in changes] == ["ERROR", "INFO"]
    assert str(changes[0]["exception"].value) == "why"


async def test_not_ready_while_starting_and_first_when_leaving(serve: Serve) -> None:
    part = Part()
    seen: list[tuple[int, str]] = []

    async def ask(client: AsyncClient) -> None:
        response = await client.get("/health/ready")
        seen.append((response.status_code, response.json()["phase"]))

    async with serve(HealthCheck(name="part", check=part.check)) as client:
        readiness: Readiness = client._transport.app.state.readiness  # type: ignore[attr-defined] # of ASGITransport
        await ask(client)
        readiness.leave()
        await ask(client)
        readiness.stop()
        await ask(client)
        assert (await client.get("/health/live")).status_code == 200

    assert seen == [(200, "serving"), (503, "leaving"), (503, "stopping")]
    assert part.calls == 1
    assert Readiness().phase == "starting"


async def test_readiness_is_false_while_modules_start() -> None:
    seen: list[int] = []

    async def startup(_: AsyncContainer) -> None:
        async with talk(app) as client:
            seen.append((await client.get("/health/ready")).status_code)

    base = (module for module in discover().modules if module.name in BASE)
    late = Module(name="late", summary="Starts last", startup=startup)
    app = create_app(registry=Registry((*base, late)))
    async with app.router.lifespan_context(app):
        pass

    assert seen == [503]


async def test_the_overview_shows_the_service(serve: Serve, clock: ManualClock) -> None:
    async with serve() as client:
        clock.advance(timedelta(seconds=90))
        body = (await client.get("/health")).json()

    assert body["uptime_seconds"] == 90
    assert body["started_at"] == "2026-01-01T00:00:00Z"
    assert body["environment"] == "test"
    assert body["modules"][-1] == "probe"
    assert body["version"]


async def test_what_strangers_need_not_know_can_be_hidden(serve: Serve) -> None:
    part = Part()
    part.report = HealthReport(details={"pool": 5})
    async with serve(HealthCheck(name="part", check=part.check), HEALTH_DETAILS="false") as client:
        body = (await client.get("/health")).json()

    assert body["version"] is body["environment"] is body["modules"] is None
    assert body["checks"]["part"]["details"] == {}


async def test_a_stream_sees_the_end_coming(serve: Serve) -> None:
    async with serve() as client:
        readiness: Readiness = client._transport.app.state.readiness  # type: ignore[attr-defined] # of ASGITransport
        waiting = asyncio.create_task(readiness.stopping.wait())
        readiness.leave()
        await asyncio.sleep(0)
        assert not waiting.done()

    assert await waiting
