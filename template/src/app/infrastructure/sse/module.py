"""The sse module."""

from __future__ import annotations

from app.core.module import Module
from app.infrastructure.sse.router import router
from app.infrastructure.sse.settings import SseSettings

module = Module(
    name="sse",
    summary="Live channels as server-sent events: GET /events",
    requires=("live", "event_bus", "logger"),
    settings=SseSettings,
    routers=(router,),
)
