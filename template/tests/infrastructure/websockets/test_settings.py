"""What the settings change."""

from __future__ import annotations

import pytest
from dishka import Provider
from starlette.types import Message

from app.api import create_app


async def test_a_service_without_websockets_says_so(
    monkeypatch: pytest.MonkeyPatch, overrides: list[Provider]
) -> None:
    monkeypatch.setenv("ENABLE_WEBSOCKETS", "false")
    application = create_app(overrides=overrides)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/ws",
        "query_string": b"",
        "headers": [(b"host", b"test")],
        "extensions": {"websocket.http.response": {}},
    }
    async with application.router.lifespan_context(application):
        await application(scope, receive, send)
    assert sent[0]["status"] == 404
    assert b"ENABLE_WEBSOCKETS" in sent[1]["body"]
