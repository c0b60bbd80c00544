"""`GET /live`."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.core.errors import NotFoundError
from app.core.settings import AppSettings
from app.modules.live_page.settings import LivePageSettings

PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")

router = APIRouter(include_in_schema=False)


def policy_of(page: str) -> str:
    """Return a policy that lets the page's own script and style run, and nothing else.

    By their hashes (CSP level 3, section 2.3): a script that got into the page would not run.
    """
    allowed = {
        f"{kind}-src": _hashed(found[1])
        for kind in ("script", "style")
        if (found := re.search(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL))
    }
    rules = {"default-src": "'none'", **allowed, "connect-src": "'self'", "base-uri": "'none'"}
    rules |= {"form-action": "'none'", "frame-ancestors": "'none'"}
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hashed(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


POLICY = policy_of(PAGE)


@router.get("/live")
async def live_page(request: Request) -> HTMLResponse:
    """Show events as they arrive."""
    container = request.app.state.dishka_container
    environment = (await container.get(AppSettings)).app_env
    if not (await container.get(LivePageSettings)).is_served(environment):
        raise NotFoundError
    return HTMLResponse(PAGE, headers={"content-security-policy": POLICY})
