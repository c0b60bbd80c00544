"""Which pages may connect, and which settings are refused."""

from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from app.infrastructure.websockets.origins import is_allowed
from app.infrastructure.websockets.settings import WebSocketSettings

SHOP = "https://shop.example.com"


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        (None, "api.example.com", True),
        ("https://api.example.com", "api.example.com", True),
        ("https://API.example.com", "api.example.com", True),
        ("https://api.example.com", "api.example.com:443", True),
        ("http://localhost:8000", "localhost:8000", True),
        ("http://localhost:8001", "localhost:8000", False),
        ("https://api.example.com.evil.com", "api.example.com", False),
        ("https://evil.com", "api.example.com", False),
        ("null", "api.example.com", False),
        ("file://", "", False),
        ("", "", False),
        ("http://[", "api.example.com", False),
        (SHOP, "api.example.com", True),
        ("http://shop.example.com", "api.example.com", False),
    ],
)
def test_a_page_of_another_origin_must_be_named(
    origin: str | None, host: str, expected: bool
) -> None:
    assert is_allowed(origin, host, {SHOP}) is expected


def test_any_origin_is_for_development_only() -> None:
    settings = WebSocketSettings(websocket_origins=("*",))
    assert is_allowed("https://evil.com", "api.example.com", settings.websocket_origins)
    assert [weakness.variable for weakness in settings.weaknesses()] == ["WEBSOCKET_ORIGINS"]


def test_a_redis_without_password_is_for_development_only() -> None:
    settings = WebSocketSettings(websocket_redis_url=SecretStr("redis://redis:6379/1"))
    assert [weakness.variable for weakness in settings.weaknesses()] == ["WEBSOCKET_REDIS_URL"]
    safe = WebSocketSettings(websocket_redis_url=SecretStr("rediss://u:p@redis:6379/1"))
    assert list(safe.weaknesses()) == []
    assert list(WebSocketSettings().weaknesses()) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("websocket_origins", "https://a.example.com/path", "scheme, host, no path"),
        ("websocket_origins", "a.example.com", "scheme, host, no path"),
        ("websocket_redis_url", "embedded://", "leave it empty"),
        ("websocket_redis_url", "http://redis", "redis"),
    ],
)
def test_what_can_not_be_used_is_refused(name: str, value: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        WebSocketSettings.model_validate({name: value})


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBSOCKET_ORIGINS", f"{SHOP}, http://localhost:3000")
    assert WebSocketSettings().websocket_origins == (SHOP, "http://localhost:3000")
