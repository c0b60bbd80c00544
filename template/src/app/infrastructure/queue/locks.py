"""Keep the locks of running jobs, from a thread of its own.

On the event loop a handler that computes without `await` would keep its own lock from being
extended: the job would run a second time beside itself. A thread goes on.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from loguru import logger

from app.infrastructure.queue.errors import QueueUnavailableError
from app.infrastructure.queue.patience import complain
from app.infrastructure.queue.redis_scripts import Commands

LONGEST_GOODBYE = 1.0
"""Seconds stopping may take. The thread ends with the process in any case."""
BLOCKED_SECONDS = 5.0
"""A loop that has not turned for this long is worth a line."""
Renew = Callable[[Commands, Mapping[str, str]], Awaitable[Sequence[str]]]
"""Extends the locks of jobs, given with their tokens; returns those that are another worker's."""


class LockKeeper:
    """Extends the locks of one consumer's jobs."""

    def __init__(
        self,
        renew: Renew,
        connect: Callable[[], Commands],
        lock: float,
        lost: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            renew: makes the call.
            connect: makes a connection that belongs to the thread's own loop.
            lock: seconds a lock lasts.
            lost: called on the loop with the id of a job whose lock is another worker's.
        """
        self._renew = renew
        self._connect = connect
        self._pause = lock / 3
        self._lost = lost
        self._held: dict[str, str] = {}
        self._stopped = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turned = time.monotonic()
        self._main = threading.main_thread().ident
        self._thread = threading.Thread(target=self._run, name="job locks", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._loop = asyncio.get_running_loop()
        self._main = threading.get_ident()
        self._thread.start()

    async def stop(self) -> None:
        """End the thread; it does not wait for Redis for long."""
        self._stopped.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, LONGEST_GOODBYE)

    def hold(self, job_id: str, token: str) -> None:
        """Extend a job's lock from now on."""
        self._held[job_id] = token

    def let_go(self, job_id: str, token: str) -> None:
        """Leave a job's lock alone from now on, unless it is held under another token by now."""
        if self._held.get(job_id) == token:
            del self._held[job_id]

    def _run(self) -> None:
        asyncio.run(self._keep())

    async def _keep(self) -> None:
        commands = self._connect()
        try:
            while not self._stopped.is_set():
                await self._extend(commands, dict(self._held))
                self._watch_loop()
                # The thread has nothing else to do: it may as well block.
                self._stopped.wait(self._pause)
        finally:
            await commands.close()

    async def _extend(self, commands: Commands, held: dict[str, str]) -> None:
        try:
            lost = await self._renew(commands, held)
        except QueueUnavailableError as error:
            complain("The locks of {} jobs can't be extended: {}", len(held) or "no", error)
            return
        for job_id in lost:
            # Done meanwhile, or really lost: `held` is what it was before the call.
            if self._held.get(job_id) == held[job_id]:
                self._say(self._lost, job_id)

    def _watch_loop(self) -> None:
        """Write a line with the stack when the event loop does not turn."""
        self._say(self._turn)
        blocked = time.monotonic() - self._turned
        frame = sys._current_frames().get(self._main or 0)  # noqa: SLF001 - the documented way
        if blocked > max(BLOCKED_SECONDS, 2 * self._pause) and frame:
            stack = "".join(traceback.format_stack(frame))
            logger.error("The event loop is blocked for {:.1f} s:\n{}", blocked, stack)

    def _turn(self) -> None:
        self._turned = time.monotonic()

    def _say(self, function: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: the process ends
            if self._loop:
                self._loop.call_soon_threadsafe(function, *arguments)
