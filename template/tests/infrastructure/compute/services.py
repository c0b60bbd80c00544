"""Services whose methods the tests have computed elsewhere."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Protocol

from app.core.errors import AppError, ConflictError, NotFoundError
from app.infrastructure.compute import compute
from app.infrastructure.deferred import Deferrable
from app.infrastructure.logger import current_context
from app.infrastructure.queue import JobTimeoutError


class LostError(NotFoundError):
    """It is lost."""


class TakenError(ConflictError):
    """Somebody has it."""

    def __init__(self, who: str) -> None:
        super().__init__(f"taken by {who}")
        self.who = who


class CollidedError(AppError):
    """Another transaction was in the way."""

    transient = True


class BrokenError(Exception):
    """No error of the service."""


@dataclass(frozen=True)
class Shape:
    width: int
    height: Decimal


class Where(Protocol):
    """Something that is provided by another name than its class."""

    async def is_it(self) -> int: ...


class Here:
    @compute()
    async def is_it(self) -> int:
        return os.getpid()


def note(what: str, word: str) -> None:
    """Write a line to the ledger, with one write: it survives whatever kills the process."""
    file = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{what} {word} {os.getpid()}\n".encode())
    finally:
        os.close(file)


def burn(seconds: float) -> int:
    """Keep a processor busy; other threads get their turn."""
    until = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < until:
        rounds += 1
    return rounds


class Maths:
    """Works with its head."""

    def __init__(self) -> None:
        self.seen = 0

    @compute(priority=1, attempts=3)
    def area(self, shape: Shape, *, times: int = 1) -> Decimal:
        self.seen += 1
        return shape.width * shape.height * times

    @compute()
    async def days(self, first: date, *more: int) -> list[date]:
        await asyncio.sleep(0)
        return [first + timedelta(days=number) for number in more]

    @compute()
    def thread(self) -> tuple[str, int]:
        return threading.current_thread().name, self.seen

    @compute(wait=False)
    async def later(self, number: int) -> int:
        await asyncio.sleep(0)
        return number + 1

    @compute()
    async def both(self, number: int) -> list[int]:
        """Call itself, which is done here, and another one nobody waits for."""
        if number == 0:
            return []
        handle = await self.later(number)
        assert handle.queue == "compute"
        return [number, *await self.both(number - 1)]

    @compute()
    async def echo(self, raw: bytes, ratio: float = 0.0) -> dict[str, bytes | float]:
        return {"raw": raw, "ratio": ratio}

    @compute()
    async def who(self) -> dict[str, str | None]:
        context = current_context()
        return {"trace": context.trace_id, "user": context.user_id}

    @compute()
    async def lose(self, what: str) -> None:
        message = f"{what} is lost"
        raise LostError(message)

    @compute()
    async def take(self) -> None:
        raise TakenError(who="Ada")

    @compute(attempts=1)
    async def break_(self) -> None:
        message = "for good"
        raise BrokenError(message)

    @compute(attempts=1)
    async def wait_in_vain(self) -> None:
        """As one does that waits for a job of its own."""
        raise JobTimeoutError

    @compute(attempts=1)
    async def lie(self) -> int:
        return "no number"  # type: ignore[return-value]  # on purpose

    @compute(attempts=1, timeout=timedelta(seconds=0.2))
    async def endless(self) -> None:
        await asyncio.sleep(3600)

    @compute(attempts=1)
    async def sleep(self, seconds: float, word: str = "") -> str:
        note("start", word)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            note("cancelled", word)
            raise
        note("end", word)
        return word

    @compute(attempts=3)
    def burn(self, seconds: float, word: str) -> int:
        note("start", word)
        burn(seconds)
        note("end", word)
        return os.getpid()

    @compute(attempts=1, timeout=timedelta(seconds=0.5))
    def hang(self, seconds: float) -> None:
        note("start", "hang")
        burn(seconds)

    @compute()
    async def text(self, size: int, text: str = "") -> str:
        return text + "x" * size

    @compute(name="old.name", queue="elsewhere")
    async def renamed(self) -> int:
        return 1

    def plain(self) -> int:
        """Not to be had from afar."""
        raise AssertionError


class Reports(Maths):
    """Has the methods of its base too."""

    @compute()
    async def days(self, first: date, *more: int) -> list[date]:
        return [first, *await super().days(first, *more)]


class Stranger:
    """Nobody provides it."""

    @compute()
    def solve(self) -> int:
        raise AssertionError


DEFERRED = Deferrable(Maths)
