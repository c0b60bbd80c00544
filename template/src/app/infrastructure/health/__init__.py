"""Whether the process lives, whether it wants traffic, and how its parts are."""

from app.infrastructure.health.readiness import Phase, Readiness

__all__ = ["Phase", "Readiness"]
