"""Services whose methods the tests defer."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self, Unpack
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr
from typing_extensions import TypedDict

from app.core.deferring import chainable
from app.infrastructure.deferred import deferrable
from app.infrastructure.logger import current_context

OUTBOX: list[dict[str, Any]] = []
"""What was sent in this process."""


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Size:
    width: int
    height: Decimal


class Parcel(BaseModel):
    """Speaks camel case over HTTP."""

    sent_at: datetime = Field(alias="sentAt")


class Order(BaseModel):
    id: UUID
    placed: datetime
    note: str | None = None


class RushOrder(Order):
    courier: str


class Options(TypedDict, total=False):
    copies: int
    colour: Colour


@deferrable()
class Draft:
    """A letter that is being written. No provider: only what a chain leads to."""

    def __init__(self, address: str) -> None:
        self._letter: dict[str, Any] = {"to": address}

    def template(self, name: str, *, locale: str = "en") -> Self:
        self._letter |= {"template": name, "locale": locale}
        return self

    async def attach(self, *pages: bytes) -> Draft:
        self._letter["pages"] = pages
        return self

    def maybe(self) -> Draft | None:
        return self

    async def send(self, values: Mapping[str, Any]) -> int:
        OUTBOX.append({**self._letter, "values": values})
        return len(OUTBOX)

    def print(self) -> str:
        return f"Dear {self._letter['to']}"


@deferrable(queue="mail", attempts=5)
class EmailService:
    server = "mail.example"

    @property
    def default(self) -> str:
        return "nobody@example.com"

    @classmethod
    def make(cls) -> Self:
        return cls()

    @staticmethod
    def valid(address: str) -> bool:
        return "@" in address

    def to(self, address: str) -> Draft:
        return Draft(address)

    def ledger(self) -> Ledger:
        return Ledger()

    def _connect(self) -> None:
        raise AssertionError

    @deferrable(attempts=2, timeout=timedelta(seconds=7), aliases=("forget",))
    async def purge(self, before: datetime) -> None:
        OUTBOX.append({"purged": before})


@dataclass
class Ledger:
    """Keeps what it is given."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)

    async def add(self, number: int, text: str = "none", /, *more: int, flag: bool = False) -> int:
        self.rows.append((number, text, more, flag))
        return number

    async def typed(
        self,
        order: Order,
        size: Size,
        colours: Sequence[Colour],
        raw: bytes,
        **options: Unpack[Options],
    ) -> Order:
        self.rows.append((order, size, colours, raw, options))
        return order

    async def loose(self, value: Any) -> Any:
        self.rows.append((value,))
        return value

    async def ship(self, parcel: Parcel) -> Parcel:
        self.rows.append((parcel,))
        return parcel

    async def label(self, raw: bytes) -> bytes:
        return raw

    async def login(self, password: SecretStr) -> None:
        raise AssertionError(password)

    async def numbers(self, values: list[int], ratio: float = 1.0) -> float:
        return sum(values) * ratio

    def slow(self, seconds: float) -> str:
        time.sleep(seconds)
        return threading.current_thread().name

    async def fail(self, words: str) -> None:
        raise ValueError(words)

    async def visits(self) -> Visits:
        raise AssertionError

    async def lies(self) -> int:
        return "no number"  # type: ignore[return-value]  # on purpose

    def untyped(self, value) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - on purpose
        raise AssertionError(value)

    def callback(self, function: Thing) -> None:
        raise AssertionError(function)


@chainable
class Sentence:
    """What `Speaker.say` leads to."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self._words = words

    def and_then(self, word: str) -> Sentence:
        return Sentence((*self._words, word))

    async def spoken(self) -> list[str]:
        return [*self._words, str(current_context().work_id)]


class Speaker:
    """A service of a module that knows nothing of deferred calls."""

    def say(self, word: str) -> Sentence:
        return Sentence((word,))


class Thing:
    """Nothing that JSON knows."""


class Visits:
    """Lives as long as a job."""

    def __init__(self) -> None:
        self._count = 0

    def visit(self) -> Self:
        self._count += 1
        return self

    async def count(self) -> int:
        return self._count

    async def who(self) -> dict[str, str | None]:
        context = current_context()
        return {
            "trace": context.trace_id,
            "user": context.user_id,
            "role": context.role,
            "tenant": context.tenant,
            "locale": context.locale,
        }
