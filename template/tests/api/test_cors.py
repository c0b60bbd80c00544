"""Pages of other origins may call only when the settings name them."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest
from httpx2 import AsyncClient, Response

from tests.api.conftest import Serve

PAGE = "https://shop.example"
PREFLIGHT = {"origin": PAGE, "access-control-request-method": "PATCH"}


def preflight(client: AsyncClient, **headers: str) -> Awaitable[Response]:
    return client.options("/health/live", headers={**PREFLIGHT, **headers})


async def test_it_is_closed_by_default(probe: AsyncClient) -> None:
    plain = await probe.get("/health/live", headers={"origin": PAGE})
    asked = await preflight(probe)

    assert "access-control-allow-origin" not in plain.headers
    assert "access-control-allow-origin" not in asked.headers


async def test_a_named_origin_may_call_and_read_the_errors_too(serve: Serve) -> None:
    async with serve(CORS_ORIGINS=f"https://other.example, {PAGE}") as client:
        asked = await preflight(client, **{"access-control-request-headers": "If-Match"})
        answers = [
            await client.get(path, headers={"origin": PAGE})
            for path in ("/health/live", "/probe/boom", "/nowhere")
        ]

    assert (asked.status_code, asked.content) == (204, b"")
    assert asked.headers["access-control-allow-origin"] == PAGE
    assert "PATCH" in asked.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in asked.headers
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "Location" in answer.headers["access-control-expose-headers"]


async def test_another_origin_is_refused(serve: Serve) -> None:
    async with serve(CORS_ORIGINS="https://other.example") as client:
        asked = await preflight(client)
        plain = await client.get("/health/live", headers={"origin": PAGE})

    assert (asked.status_code, asked.content) == (400, b"")
    assert "access-control-allow-origin" not in asked.headers
    assert "access-control-allow-origin" not in plain.headers


@pytest.mark.parametrize("origin", [f"{PAGE}.evil.example", "https://evil.example", "null"])
async def test_credentials_go_only_to_the_named_origin(serve: Serve, origin: str) -> None:
    async with serve(CORS_ORIGINS=PAGE, CORS_CREDENTIALS="true") as client:
        right = await client.get("/health/live", headers={"origin": PAGE})
        wrong = await client.get("/health/live", headers={"origin": origin})

    assert right.headers["access-control-allow-credentials"] == "true"
    assert "access-control-allow-origin" not in wrong.headers
