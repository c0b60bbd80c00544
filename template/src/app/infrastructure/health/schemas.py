"""What the health routes answer."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from app.core.health import HealthStatus
from app.infrastructure.health.readiness import Phase


class Liveness(BaseModel):
    """The process answers."""

    status: HealthStatus = HealthStatus.UP


class CheckResult(BaseModel):
    """What one check found out."""

    status: HealthStatus
    latency_ms: float = Field(description="How long the check took, in milliseconds.")
    critical: bool = Field(description="Whether `down` takes the service out of rotation.")
    error: str | None = Field(default=None, description="The kind of failure; the log has it all.")
    details: dict[str, object] = Field(default_factory=dict)


class ReadinessReport(BaseModel):
    """Whether traffic is wanted, and how each part is."""

    status: HealthStatus
    phase: Phase
    checks: dict[str, CheckResult]


class Overview(ReadinessReport):
    """The service at a glance. What is hidden by `HEALTH_DETAILS` is null."""

    name: str
    uptime_seconds: float
    started_at: datetime
    version: str | None = None
    environment: str | None = None
    modules: list[str] | None = None
