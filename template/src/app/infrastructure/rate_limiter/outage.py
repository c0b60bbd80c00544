"""What is remembered of Redis being away, so that not every request finds it out anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from loguru import logger

from app.core.tasks import end
from app.infrastructure.rate_limiter.errors import LimiterDownError
from app.infrastructure.redis import REDIS_ERRORS

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two looks whether it is back."""
LONGEST_ASK = 2.0
"""Seconds after which a look has failed; connecting with TLS may take a part of that."""


class Outage:
    """Begins with a failure; a task in the background sees its end. Each is logged once."""

    def __init__(self, ask: Callable[[], Awaitable[None]], patience: float) -> None:
        """Prepare.

        Args:
            ask: raises while Redis does not do its work.
            patience: seconds for which requests wait for a quick end.
        """
        self._ask = ask
        self._patience = patience
        self._watch: asyncio.Task[None] | None = None
        self._since = 0.0

    @property
    def is_on(self) -> bool:
        """Whether Redis is away, as far as is known."""
        return self._watch is not None

    def begin(self, error: Exception) -> None:
        """Take note of a failure."""
        if self._watch is not None:
            return
        self._since = asyncio.get_running_loop().time()
        self._watch = asyncio.create_task(self._until_back(error), name="rate-limiter-outage")

    async def over_soon(self) -> None:
        """Wait for the end if it has only just begun: a lost connection is made again at once.

        Raises:
            LimiterDownError: it lasts.
        """
        left = self._since + self._patience - asyncio.get_running_loop().time()
        if self._watch is not None and left > 0:
            await asyncio.wait([self._watch], timeout=left)
        if self._watch is not None:
            raise LimiterDownError

    async def stop(self) -> None:
        """Look no longer."""
        if self._watch is not None:
            await end(self._watch)
            self._watch = None

    async def _until_back(self, error: Exception) -> None:
        loop = asyncio.get_running_loop()
        # A connection that is lost and made again is no outage.
        told = loop.call_later(self._patience, _tell, error)
        pause = FIRST_PAUSE
        try:
            while not await self._works():
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            told.cancel()
        self._watch = None
        if loop.time() > told.when():
            logger.info("Rate limits are counted again after {:.1f} s", loop.time() - self._since)

    async def _works(self) -> bool:
        try:
            async with asyncio.timeout(LONGEST_ASK):
                await self._ask()
        except (*REDIS_ERRORS, TimeoutError):
            return False
        return True


def _tell(error: Exception) -> None:
    logger.warning(
        "Rate limits can't be counted ({}: {}): until Redis is back, open ones let requests pass "
        "and closed ones answer 503",
        type(error).__name__,
        error,
    )
