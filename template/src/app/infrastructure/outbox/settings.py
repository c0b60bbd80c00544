"""Settings of the outbox."""

from __future__ import annotations

from pydantic import Field

from app.core.settings import Count, ModuleSettings, Seconds


class OutboxSettings(ModuleSettings):
    """How patient the relay is, and how long rows are kept."""

    outbox_patience: Seconds = Field(default=5.0, gt=0)
    """How long a committed job may stay unpublished before the relay takes it for left behind."""
    outbox_poll: Seconds = Field(default=1.0, gt=0)
    """Pause between two looks of an idle relay."""
    outbox_batch: Count = Field(default=100, ge=1, le=500)
    """Jobs the relay publishes in one go."""
    outbox_attempts: Count = Field(default=10, ge=1)
    """Tries before a job that can't be published is given up. A broker that is away is no try."""
    outbox_keep: Seconds = Field(default=86_400.0, ge=0)
    """How long published rows are kept."""
    outbox_lag: Seconds = Field(default=60.0, gt=0)
    """From which age of the oldest unpublished job the health check complains."""
    inbox_keep: Seconds = Field(default=7 * 86_400.0, gt=0)
    """How long keys of what was done once are kept."""
