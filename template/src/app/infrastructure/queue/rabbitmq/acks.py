"""Acknowledge what is done, many at a time.

The broker takes one frame for all deliveries up to a number. Those that are done in a row from the
lowest one go that way; what is done beyond one that still runs goes by itself, so that no slow job
keeps the others waiting.
"""

from __future__ import annotations

from enum import Enum


class _Mark(Enum):
    """What is known of a delivery."""

    OPEN = 0
    DONE = 1
    TOLD = 2


class Acks:
    """The deliveries of one channel. Their tags count up from 1."""

    def __init__(self) -> None:
        """Begin with a new channel."""
        self._marks: dict[int, _Mark] = {}
        self._lowest = 1
        self._done: list[int] = []

    def delivered(self, tag: int) -> None:
        """A message has come."""
        self._marks[tag] = _Mark.OPEN

    def done(self, tag: int) -> bool:
        """It is to be acknowledged. False: that is known already."""
        if self._marks.get(tag) is not _Mark.OPEN:
            return False
        self._marks[tag] = _Mark.DONE
        self._done.append(tag)
        return True

    def told(self, tag: int) -> bool:
        """It was given back by itself. False: that is known already."""
        if self._marks.get(tag) is not _Mark.OPEN:
            return False
        self._marks[tag] = _Mark.TOLD
        return True

    def take(self) -> tuple[int, list[int]]:
        """Return up to which tag all can be acknowledged (0: none), and which others by itself."""
        upto, marks = 0, self._marks
        while (mark := marks.get(self._lowest)) is not None and mark is not _Mark.OPEN:
            if mark is _Mark.DONE:
                upto = self._lowest
            del marks[self._lowest]
            self._lowest += 1
        single = [tag for tag in self._done if tag in marks]
        for tag in single:
            marks[tag] = _Mark.TOLD
        self._done.clear()
        return upto, single
