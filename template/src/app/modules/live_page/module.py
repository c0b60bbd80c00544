"""The live_page module."""

from __future__ import annotations

from app.core.events import Envelope
from app.core.module import Module
from app.infrastructure.live import Access, Channel
from app.modules.live_page.router import router
from app.modules.live_page.settings import LivePageSettings


def user_of(envelope: Envelope) -> str | None:
    """Return which user an event is about."""
    found = envelope.data.get("user_id")
    return str(found) if found else None


module = Module(
    name="live_page",
    summary="A page that shows what happens to users as it happens: /live",
    requires=("users", "sse", "live"),
    settings=LivePageSettings,
    routers=(router,),
    # They hold ids and names of fields, no personal data.
    contributes=(Channel(name="users", events=("user.*",), access=Access.PUBLIC, topic=user_of),),
)
