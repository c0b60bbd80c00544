"""End tasks that run beside the requests."""

from __future__ import annotations

import asyncio
from typing import Any

CANCEL_AGAIN = 1.0
"""Seconds a task has for what it does at its end."""


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they have ended. Errors of theirs are not raised here.

    Once is not always enough: redis-py may make an error of its own out of a cancellation that
    comes while it connects, and `asyncio.wait_for` loses one that comes with the end of what it
    waits for (before Python 3.12, https://github.com/python/cpython/issues/86296).
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=CANCEL_AGAIN)
