"""End a connection that takes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import Receive


def cutter(receive: Receive) -> Callable[[], None]:
    """Return what ends a request's connection at once. Call it in the request's own task.

    A client that reads nothing can't be told to go: what waits to be sent to it would have to be
    sent first, and closing waits for that too. Only the transport can give it up. ASGI has no word
    for that, but uvicorn's `receive` is a method of the object that has the transport. Where it is
    not, the task is cancelled: the process is rid of it, the socket stays until TCP gives up.
    """
    task = asyncio.current_task()

    def cut() -> None:
        transport = getattr(getattr(receive, "__self__", None), "transport", None)
        if transport is not None:
            transport.abort()
        elif task is not None:
            task.cancel()

    return cut
