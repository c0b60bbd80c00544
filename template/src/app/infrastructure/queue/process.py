"""One worker process: `python -m app.infrastructure.queue.process`. `app worker` starts it.

It ends on SIGTERM: takes no more jobs, gives running ones their time, gives back what is left. It
ends the same way when whoever started it is gone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from contextlib import suppress

from loguru import logger

from app.core.container import build_container
from app.core.discovery import Registry, discover
from app.core.errors import AppError, ConfigurationError
from app.core.lifecycle import Lifecycle
from app.core.settings import load_settings
from app.infrastructure.logger import configure_logging
from app.infrastructure.queue.settings import QueueSettings
from app.infrastructure.queue.worker import Worker

PARENT = "WORKER_PARENT"
"""Variable with the process id of who starts a worker. It may be gone before the worker looks."""
PARENT_POLL = 1.0
"""Seconds between looks whether the parent is there."""
REFUSED = 3
"""Exit code when it can't start at all: starting it again would not help."""
AFTERWARDS = 0.2
"""Part of the grace for what comes after the jobs: disconnecting, and the last lines of the log."""
LONGEST_AFTERWARDS = 4.0


def main(registry: Registry | None = None) -> None:
    """Do jobs until a signal comes; exit with 0 after an orderly end.

    Args:
        registry: the modules; by default those found in `app`.
    """
    configure_logging()
    try:
        asyncio.run(run(registry or discover()))
    except ConfigurationError as error:
        logger.critical("The worker can't start: {}", error)
        sys.exit(REFUSED)
    except AppError as error:  # a server is away: another try may help
        logger.critical("The worker could not start: {}", error)
        sys.exit(1)


async def run(registry: Registry) -> None:
    """Start all modules, wait for the end, stop them."""
    settings = load_settings(registry.modules)
    container = build_container(registry, settings)
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Ctrl-C reaches the whole group of processes: the parent says when to end.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    grace = settings.get(QueueSettings).worker_grace
    async with Lifecycle(registry, settings, container):
        worker = await container.get(Worker)
        await _until_ending(ending)
        _guard(worker, grace)
        await worker.stop(grace - min(LONGEST_AFTERWARDS, grace * AFTERWARDS))


async def _until_ending(ending: asyncio.Event) -> None:
    """Wait for the signal, or until the parent is gone."""
    parent = int(os.environ.get(PARENT) or os.getppid())
    while not ending.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), PARENT_POLL)
        if os.getppid() != parent:
            logger.warning("Whoever started this worker is gone: it ends")
            return


def _guard(worker: Worker, grace: float) -> None:
    """End the process at the end of its grace, whatever hangs: a thread no broker can stop."""

    def end() -> None:
        time.sleep(grace)
        left = ", ".join(worker.running) or "none"
        logger.critical("Not ended within WORKER_GRACE of {:g} s; unfinished jobs: {}", grace, left)
        os._exit(1)

    threading.Thread(target=end, name="end of grace", daemon=True).start()


if __name__ == "__main__":
    main()
