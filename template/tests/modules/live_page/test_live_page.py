"""The page shows events as they arrive."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

import pytest
from httpx2 import AsyncClient

from app.core.discovery import discover
from app.core.settings import Environment
from app.infrastructure.live import Access, Channel
from app.modules.live_page.router import PAGE, POLICY, policy_of
from app.modules.live_page.settings import LivePageSettings


async def test_the_page_is_served_with_a_policy_that_lets_nothing_else_run(
    client: AsyncClient,
) -> None:
    answer = await client.get("/live")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"] == POLICY
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY


def test_the_policy_names_the_script_and_the_style_by_their_hash() -> None:
    policy = policy_of("<style>a</style><script>b</script>")
    for kind, text in (("style", b"a"), ("script", b"b")):
        digest = b64encode(sha256(text).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_the_page_loads_nothing_from_elsewhere() -> None:
    assert "//" not in PAGE.replace("// textContent", "")


def test_the_channel_shows_no_personal_data_to_everybody() -> None:
    (channel,) = (c for c in discover().contributions(Channel) if c.name == "users")
    assert channel.access is Access.PUBLIC
    assert channel.events == ("user.*",)


@pytest.mark.parametrize(
    ("environment", "enabled", "expected"),
    [
        (Environment.DEVELOPMENT, False, True),
        (Environment.PRODUCTION, False, False),
        (Environment.STAGING, False, False),
        (Environment.PRODUCTION, True, True),
    ],
)
def test_a_deployed_service_has_it_only_where_that_is_said(
    environment: Environment, enabled: bool, expected: bool
) -> None:
    assert LivePageSettings(live_page_enabled=enabled).is_served(environment) is expected
