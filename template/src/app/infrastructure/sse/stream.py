"""One stream."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

from fastapi.sse import ServerSentEvent
from pydantic_core import to_json

from app.infrastructure.event_bus import SlowFollowerError
from app.infrastructure.live import Clients, CredentialsExpiredError, LiveClient
from app.infrastructure.live.clients import TOO_SLOW

READY = "ready"
RESET = "reset"
END = "end"
MILLISECONDS = 1000


async def stream(
    client: LiveClient, clients: Clients, *, heartbeat: float, retry: float, resumed: bool
) -> AsyncIterator[ServerSentEvent]:
    """Yield what a client gets, until one of both goes.

    Args:
        client: who.
        clients: cuts it off when it is too slow.
        heartbeat: seconds.
        retry: seconds until it may come back.
        resumed: whether it has said what it has seen.
    """
    begin = client.follower.began_at
    known = [*map(str, client.selections.values())]
    # With an id, unless what it has missed, or that it has, still has to reach it: should the
    # connection break before, it would not ask for that again.
    ready_id = None if resumed else begin
    wait = round(retry * MILLISECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
    with clients.sending(client):
        yield _control(READY, {"channels": known}, ready_id, wait)
        if not client.follower.is_complete:
            yield _control(RESET, {"reason": "too-long-ago"}, begin)
    while True:
        try:
            item = await client.next(heartbeat)
        except StopAsyncIteration:
            return
        except SlowFollowerError:
            clients.cut(client, TOO_SLOW)
            return
        except CredentialsExpiredError:
            yield _control(END, {"reason": "credentials-expired"})
            return
        with clients.sending(client):
            if item.after_gap:
                # Without an id where an event follows, which may not arrive any more.
                position = item.position if item.text is None else None
                yield _control(RESET, {"reason": "events-missed"}, position)
            if item.text is not None:
                yield ServerSentEvent(raw_data=item.text, id=item.position)
            elif not item.after_gap:
                # An id alone is remembered too (HTML, server-sent events, 9.2.6): what is not for
                # this client need not be looked through again.
                yield ServerSentEvent(comment="alive", id=item.position)


def _control(
    name: str, data: dict[str, Any], position: str | None = None, retry: int | None = None
) -> ServerSentEvent:
    return ServerSentEvent(event=name, raw_data=to_json(data).decode(), id=position, retry=retry)
