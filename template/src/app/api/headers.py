"""Security headers for an API (OWASP REST Security Cheat Sheet), and for its docs page."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from app.api.settings import ApiSettings

HeaderList = list[tuple[bytes, bytes]]

API_POLICY = "default-src 'none'; frame-ancestors 'none'"


def security_headers(settings: ApiSettings, *, deployed: bool) -> HeaderList:
    """Return the headers of every answer, encoded."""
    headers = [
        (b"content-security-policy", API_POLICY.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
    ]
    if deployed and settings.hsts_max_age:
        value = f"max-age={settings.hsts_max_age:.0f}"
        headers.append((b"strict-transport-security", value.encode()))
    return headers


def docs_policy(script: str, source: str) -> str:
    """Return the content security policy of a docs page.

    Args:
        script: the page's one inline script; its hash is allowed, no other inline script is.
        source: the origin its scripts and styles come from.
    """
    digest = b64encode(sha256(script.encode()).digest()).decode()
    return (
        f"{API_POLICY}; script-src {source} 'sha256-{digest}'; style-src {source} 'unsafe-inline'; "
        "img-src 'self' data: https://fastapi.tiangolo.com; connect-src 'self'"
    )
