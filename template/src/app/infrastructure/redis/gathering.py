"""Write together what many tasks write in one turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LONGEST_HOLD = 0.0002
"""Seconds. What is written first waits for no more than that while other tasks run: else the server
has nothing to do meanwhile, and then none of the tasks has while it works."""


class Gatherer:
    """Holds what is written until the turn of the event loop ends, and not for long.

    A write is a call of the system, which costs as much as what one task does between two.
    """

    __slots__ = ("_held", "_loop", "_since", "_told", "_write")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, write: Callable[[list[bytes]], None]
    ) -> None:
        """Give what was gathered to `write`."""
        self._loop = loop
        self._write = write
        self._held: list[bytes] = []
        self._since = 0.0
        self._told = False

    def add(self, data: bytes) -> None:
        """Write data, in the order of these calls."""
        self._held.append(data)
        now = self._loop.time()
        if len(self._held) == 1:
            self._since = now
            if not self._told:
                self._told = True
                self._loop.call_soon(self._end_of_turn)
        elif now - self._since >= LONGEST_HOLD:
            self._leave()

    def _end_of_turn(self) -> None:
        self._told = False
        if self._held:
            self._leave()

    def _leave(self) -> None:
        held, self._held = self._held, []
        self._write(held)
