"""Run the checks of all modules."""

from __future__ import annotations

import asyncio

from dishka import AsyncContainer
from loguru import logger

from app.core.clock import Clock
from app.core.discovery import Registry
from app.core.health import HealthCheck, HealthReport, HealthStatus
from app.core.project import project
from app.core.settings import AppSettings, SettingsBundle
from app.infrastructure.health.readiness import Readiness
from app.infrastructure.health.schemas import CheckResult, Overview, ReadinessReport
from app.infrastructure.health.settings import HealthSettings

Results = dict[str, CheckResult]


class HealthService:
    """Asks every module how it is."""

    def __init__(
        self,
        registry: Registry,
        settings: SettingsBundle,
        container: AsyncContainer,
        readiness: Readiness,
        clock: Clock,
    ) -> None:
        """Hold what is asked. Uptime counts from here."""
        self._registry = registry
        self._container = container
        self._readiness = readiness
        self._settings = settings.get(HealthSettings)
        self._app_settings = settings.get(AppSettings)
        self._clock = clock
        self._checks = [check for module in registry.modules for check in module.health_checks]
        self._started_at = clock.now()
        self._started = clock.monotonic()
        self._one_round = asyncio.Lock()
        self._results: Results = {}
        self._fresh_until = float("-inf")
        self._known: dict[str, HealthStatus] = {}

    async def readiness(self) -> ReadinessReport:
        """Return whether traffic is wanted. A process that is starting or leaving runs no check."""
        phase = self._readiness.phase
        if not self._readiness.ready:
            return ReadinessReport(status=HealthStatus.DOWN, phase=phase, checks={})
        results = await self._current()
        shown = {
            name: result.model_copy(update={"details": {}}) for name, result in results.items()
        }
        return ReadinessReport(status=_worst(results), phase=phase, checks=shown)

    async def overview(self) -> Overview:
        """Return everything worth a look, checks included, in any phase."""
        results = await self._current()
        shown = self._settings.health_details
        if not shown:
            results = {
                name: item.model_copy(update={"details": {}}) for name, item in results.items()
            }
        return Overview(
            status=_worst(results) if self._readiness.ready else HealthStatus.DOWN,
            phase=self._readiness.phase,
            checks=results,
            name=self._app_settings.app_name,
            uptime_seconds=round(self._clock.monotonic() - self._started, 3),
            started_at=self._started_at,
            version=project().version if shown else None,
            environment=self._app_settings.app_env.value if shown else None,
            modules=[module.name for module in self._registry.modules] if shown else None,
        )

    async def _current(self) -> Results:
        """Return results at most `HEALTH_CACHE` old; callers at the same time share one round."""
        async with self._one_round:
            if self._clock.monotonic() >= self._fresh_until:
                found = await asyncio.gather(*map(self._run, self._checks))
                self._results = {
                    check.name: result for check, result in zip(self._checks, found, strict=True)
                }
                self._fresh_until = self._clock.monotonic() + self._settings.health_cache
            return self._results

    async def _run(self, check: HealthCheck) -> CheckResult:
        begin = self._clock.monotonic()
        error: Exception | None = None
        reason = None
        deadline = asyncio.timeout(check.timeout)
        try:
            async with deadline:
                report = await check.check(self._container)
        except Exception as caught:  # noqa: BLE001 - whatever a check raises, the part is down
            report, error = HealthReport(HealthStatus.DOWN), caught
            # Only the kind: a driver's message may hold an address with a password.
            reason = type(caught).__name__
            if deadline.expired():
                reason = f"no answer within {check.timeout:g} s"
        self._log_change(check.name, report.status, error)
        return CheckResult(
            status=report.status,
            latency_ms=round((self._clock.monotonic() - begin) * 1000, 3),
            critical=check.critical,
            error=reason,
            details=dict(report.details),
        )

    def _log_change(self, name: str, status: HealthStatus, error: Exception | None) -> None:
        """Log when a part changes, not at every poll; at first only when it is not up."""
        before = self._known.get(name, HealthStatus.UP)
        self._known[name] = status
        if status is before:
            return
        level = "INFO" if status is HealthStatus.UP else "WARNING"
        if status is HealthStatus.DOWN:
            level = "ERROR"
        logger.opt(exception=error).log(level, "Health of {} is {}, was {}", name, status, before)


def _worst(results: Results) -> HealthStatus:
    states = {
        HealthStatus.DEGRADED
        if result.status is HealthStatus.DOWN and not result.critical
        else result.status
        for result in results.values()
    }
    for status in (HealthStatus.DOWN, HealthStatus.DEGRADED):
        if status in states:
            return status
    return HealthStatus.UP
