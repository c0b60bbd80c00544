"""Is the database there?"""

from __future__ import annotations

from dishka import AsyncContainer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.health import HealthCheck, HealthReport, HealthStatus
from app.infrastructure.database.database import Database


async def check(container: AsyncContainer) -> HealthReport:
    """Ask the primary and each replica for an answer.

    A replica that is down degrades: reads go elsewhere. A primary that is down raises.
    """
    database = await container.get(Database)
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
    details: dict[str, object] = {
        "backend": database.engine.url.get_backend_name(),
        "pool": database.engine.pool.status(),
        "circuit": database.breaker.state.value,
    }
    answers = {r.name: await _answers(r.engine) for r in database.replicas.replicas}
    if answers:
        details["replicas"] = {name: "up" if up else "down" for name, up in answers.items()}
    whole = all(answers.values())
    return HealthReport(HealthStatus.UP if whole else HealthStatus.DEGRADED, details)


async def _answers(engine: AsyncEngine) -> bool:
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except Exception:  # noqa: BLE001 - whatever it is, the replica does not answer
        return False
    return True


DATABASE_CHECK = HealthCheck(name="database", check=check, timeout=5.0)
