"""End a connection that takes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.types import Receive

WRAPPED = 4
"""Of those that may stand between the server's `receive` and ours."""


def cutter(receive: Receive) -> Callable[[], None]:
    """Return what ends a request's connection at once. Call it in the request's own task.

    A client that reads nothing can't be told to go: what waits to be sent to it would have to be
    sent first, and closing waits for that too. Only the transport can give it up. ASGI has no word
    for that, but uvicorn's `receive` is a method of the object that has the transport. Where it is
    not, the task is cancelled: the process is rid of it, the socket stays until TCP gives up.
    """
    task = asyncio.current_task()
    transport = _transport(receive)

    def cut() -> None:
        if transport is not None:
            transport.abort()
        elif task is not None:
            task.cancel()

    return cut


def _transport(receive: Receive) -> Any:
    """Return the transport of the server's own `receive`; None: it is not to be found.

    A request that says it has a body, though it were of no bytes, has one between that counts it.
    """
    for _ in range(WRAPPED):
        owner = getattr(receive, "__self__", None)
        if (transport := getattr(owner, "transport", None)) is not None:
            return transport
        receive = getattr(owner, "receive", receive)
    return None
