"""What the settings change."""

from __future__ import annotations

import pytest
from dishka import Provider
from httpx2 import ASGITransport, AsyncClient

from app.api import create_app


async def test_a_service_without_streams_says_so(
    monkeypatch: pytest.MonkeyPatch, overrides: list[Provider]
) -> None:
    monkeypatch.setenv("ENABLE_SSE", "false")
    application = create_app(overrides=overrides)
    async with (
        application.router.lifespan_context(application),
        AsyncClient(transport=ASGITransport(app=application), base_url="http://test") as client,
    ):
        answer = await client.get("/events?channels=ticks")
    assert answer.status_code == 404
    assert "ENABLE_SSE" in answer.json()["detail"]
