"""Settings of server-sent events."""

from __future__ import annotations

from pydantic import Field

from app.core.settings import ModuleSettings, Seconds


class SseSettings(ModuleSettings):
    """Whether and how events are streamed."""

    enable_sse: bool = True
    """Whether `/events` answers at all; off: 404."""
    sse_retry_interval: Seconds = Field(default=3.0, gt=0, le=300)
    """How long browsers wait before they connect again, as `retry:`; each is told half to one and
    a half of it, so that those of a stopped process don't come back at the same moment."""
