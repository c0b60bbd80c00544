"""Settings of the health routes."""

from __future__ import annotations

from pydantic import Field

from app.core.settings import ModuleSettings, Seconds


class HealthSettings(ModuleSettings):
    """What the health routes tell, and how often they really ask."""

    health_cache: Seconds = Field(default=1.0, ge=0)
    """How long results are reused: many pollers, or a hostile one, cost one round of checks."""
    health_details: bool = True
    """Whether `/health` shows version, environment, modules and the details of checks."""
