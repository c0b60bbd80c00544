"""What `app relay` and `app outbox` do, and what they print."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from dishka import AsyncContainer

from app.core.clock import Clock
from app.core.discovery import discover
from app.core.service import in_service, part_of
from app.infrastructure.database import Database
from app.infrastructure.database.operations import refuse_behind
from app.infrastructure.logger import configure_logging
from app.infrastructure.outbox import store
from app.infrastructure.outbox.outbox import Outbox
from app.infrastructure.outbox.relay import Relay

ResultT = TypeVar("ResultT")


def _look(use: Callable[[AsyncContainer], Awaitable[ResultT]]) -> ResultT:
    refuse_behind()
    return in_service(part_of(discover(), {"outbox"}), use)  # whoever takes its rows need not run


def run() -> None:
    """Relay until SIGTERM or Ctrl-C."""

    async def until_stopped(container: AsyncContainer) -> None:
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        relay = await container.get(Relay)
        relay.start()
        await ended.wait()
        await relay.stop()

    configure_logging()
    with contextlib.suppress(KeyboardInterrupt):
        in_service(discover(), until_stopped)


def status() -> str:
    """Return one line."""

    async def look(container: AsyncContainer) -> tuple[store.Lag, datetime]:
        async with (await container.get(Database)).unit_of_work() as session:
            return await store.lag(session), (await container.get(Clock)).now()

    found, now = _look(look)
    age = f"{(now - found.oldest).total_seconds():.1f} s old" if found.oldest else "none"
    return f"{found.pending} to be published, the oldest: {age}; {found.dead} dead"


def dead(limit: int) -> str:
    """Return the dead rows, a line each."""

    async def look(container: AsyncContainer) -> list[str]:
        async with (await container.get(Database)).unit_of_work() as session:
            rows = await store.dead(session, limit)
            return [f"{row.id}  {row.dead_at:%Y-%m-%d %H:%M:%S}  {row.error}" for row in rows]

    return "\n".join(_look(look))


def replay(ids: list[UUID] | None) -> int:
    """Let dead rows be tried again; None: all."""

    async def do(container: AsyncContainer) -> int:
        now = (await container.get(Clock)).now()
        async with (await container.get(Database)).unit_of_work() as session:
            return await store.replay(session, now, ids)

    return _look(do)


def purge() -> int:
    """Delete what was kept long enough."""

    async def do(container: AsyncContainer) -> int:
        return await (await container.get(Outbox)).purge()

    return _look(do)
