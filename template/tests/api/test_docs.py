"""The docs page: on or off, open or guarded, and allowed to load what it needs."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

import pytest
from httpx2 import AsyncClient

from tests.api.conftest import Serve

PATHS = ("/docs", "/openapi.json")


@pytest.mark.parametrize("path", PATHS)
async def test_they_can_be_switched_off(serve: Serve, path: str) -> None:
    async with serve(DOCS_ENABLED="false") as client:
        assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize("path", PATHS)
async def test_a_password_guards_page_and_document(serve: Serve, path: str) -> None:
    async with serve(DOCS_USERNAME="me", DOCS_PASSWORD="correct horse") as client:
        nobody = await client.get(path)
        wrong = [
            await client.get(path, auth=pair)
            for pair in [("me", "wrong"), ("you", "correct horse"), ("", ""), ("mé", "é")]
        ]
        broken = await client.get(path, headers={"authorization": "Basic !!!"})
        right = await client.get(path, auth=("me", "correct horse"))

    assert right.status_code == 200
    for refused in (nobody, broken, *wrong):
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic")
        assert refused.json()["type"] == "/problems/unauthorized"


async def test_the_page_allows_its_own_inline_script_and_no_other(probe: AsyncClient) -> None:
    page = await probe.get("/docs")

    script = re.search(r"<script>(.*?)</script>", page.text, re.DOTALL)
    assert script is not None
    digest = b64encode(sha256(script[1].encode()).digest()).decode()
    policy = page.headers["content-security-policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert f"'sha256-{digest}'" in directives["script-src"]
    assert "unsafe-inline" not in directives["script-src"]
    for source in re.findall(r'src="(https://[^/]+)', page.text):
        assert source in directives["script-src"]


async def test_the_page_follows_the_path_it_is_mounted_at(probe: AsyncClient) -> None:
    transport = probe._transport
    transport.root_path = "/shop"  # type: ignore[attr-defined] # of ASGITransport

    page = await probe.get("/shop/docs")

    assert "/shop/openapi.json" in page.text
