"""A process for the tests: `LEDGER`, handles events until SIGTERM; one of them kills it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from app.core.container import build_container
from app.core.discovery import Registry
from app.core.lifecycle import Lifecycle
from app.core.module import Module
from app.core.settings import load_settings
from app.infrastructure.event_bus import on
from tests.infrastructure.event_bus.conftest import Placed, needed

KILLER = 13
LEDGER = sys.argv[1]


@on()
async def handle(event: Placed) -> None:
    if event.number == KILLER:
        os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.sleep(0.02)
    written = os.open(LEDGER, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(written, f"{event.number}\n".encode())
    os.close(written)


async def main() -> None:
    probe = Module(name="probe", summary="test", contributes=(handle,))
    registry = Registry((*needed("redis"), probe))
    settings = load_settings(registry.modules)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with Lifecycle(registry, settings, build_container(registry, settings)):
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
