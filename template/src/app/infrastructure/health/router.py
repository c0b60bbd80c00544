"""The health routes.

They open no request scope: a pool without a free connection must not hide that it has none.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response

from app.core.health import HealthStatus
from app.infrastructure.health.schemas import Liveness, Overview, ReadinessReport
from app.infrastructure.health.service import HealthService

ReportT = TypeVar("ReportT", bound=ReadinessReport)

router = APIRouter(prefix="/health", tags=["health"])

ALIVE = Liveness()


def _unavailable(model: type[ReadinessReport]) -> dict[int | str, dict[str, Any]]:
    """Document that 503 carries the same report."""
    return {HTTPStatus.SERVICE_UNAVAILABLE.value: {"model": model, "description": "Not ready"}}


@router.get("/live")
async def get_liveness() -> Liveness:
    """Tell whether the process answers. It asks nothing else: a restart cures only the process."""
    return ALIVE


@router.get("/ready", responses=_unavailable(ReadinessReport))
async def get_readiness(request: Request, response: Response) -> ReadinessReport:
    """Tell whether to send traffic here: 503 when starting, leaving, or a critical part is down."""
    return _answer(await (await _service(request)).readiness(), response)


@router.get("", responses=_unavailable(Overview))
async def get_health(request: Request, response: Response) -> Overview:
    """Show the service at a glance, for people and dashboards."""
    return _answer(await (await _service(request)).overview(), response)


async def _service(request: Request) -> HealthService:
    service: HealthService = await request.app.state.dishka_container.get(HealthService)
    return service


def _answer(report: ReportT, response: Response) -> ReportT:
    if report.status is HealthStatus.DOWN:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    response.headers["cache-control"] = "no-store"
    return report
