"""What a health check is. The `health` module runs them; any module declares them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dishka import AsyncContainer


class HealthStatus(StrEnum):
    """How well a part works."""

    UP = "up"
    DEGRADED = "degraded"
    """Works, with something lost: a replica down, a cache cold. Stays ready."""
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What a check found out."""

    status: HealthStatus = HealthStatus.UP
    details: Mapping[str, object] = field(default_factory=dict)
    """Shown on `/health`; never put a secret or an address with a password here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """A question asked on `/health/ready`. A check that raises or takes too long is `DOWN`."""

    name: str
    check: Callable[[AsyncContainer], Awaitable[HealthReport]]
    timeout: float = 2.0
    """Seconds."""
    critical: bool = True
    """Whether `DOWN` takes the service out of rotation. If not, it counts as `DEGRADED`."""
