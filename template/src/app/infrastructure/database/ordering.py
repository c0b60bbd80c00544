"""Sorting by an allow-list, and the place in a sorted list that a cursor names."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from app.core.errors import UnprocessableError


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One column of an order."""

    name: str
    column: InstrumentedAttribute[Any]
    descending: bool

    def by(self, *, backwards: bool = False) -> ColumnElement[Any]:
        """Return the ORDER BY expression."""
        return self.column.desc() if self.descending != backwards else self.column.asc()

    def beyond(self, value: Any, *, backwards: bool) -> ColumnElement[bool]:
        """Return the condition that a row comes after `value` in this column."""
        downwards = self.descending != backwards
        condition: ColumnElement[bool] = self.column < value if downwards else self.column > value
        return condition


class Cursor(BaseModel):
    """A place in a sorted list: the sort key of the row next to it."""

    order: str
    key: list[Any]
    backwards: bool = False

    def encode(self) -> str:
        """Return it as an opaque word for URLs."""
        return base64.urlsafe_b64encode(self.model_dump_json().encode()).decode().rstrip("=")


def parse_order(
    sort: str,
    allowed: Mapping[str, InstrumentedAttribute[Any]],
    tie_break: InstrumentedAttribute[Any],
) -> tuple[OrderTerm, ...]:
    """Read `-created_at,name`. The tie-break is added, so that the order is total.

    Raises:
        UnprocessableError: a field that is not allowed, or one named twice; names the allowed ones.
    """
    terms: list[OrderTerm] = []
    for part in filter(None, (part.strip() for part in sort.split(","))):
        name = part.removeprefix("-")
        if name not in allowed or any(term.name == name for term in terms):
            choices = ", ".join(sorted(allowed))
            message = f"Can't sort by {name[:50]!r}: use each of these at most once: {choices}."
            raise UnprocessableError(message)
        terms.append(OrderTerm(name, allowed[name], part.startswith("-")))
    if not any(term.column.key == tie_break.key for term in terms):
        terms.append(OrderTerm(tie_break.key, tie_break, bool(terms) and terms[-1].descending))
    return tuple(terms)


def spell(terms: Sequence[OrderTerm]) -> str:
    """Return the order as text; what a cursor is compared by."""
    return ",".join(f"{'-' if term.descending else ''}{term.name}" for term in terms)


def cursor_at(row: Any, terms: Sequence[OrderTerm], *, backwards: bool) -> str:
    """Return the cursor that continues beside `row`."""
    key = [_adapter(term).dump_python(getattr(row, term.column.key), mode="json") for term in terms]
    return Cursor(order=spell(terms), key=key, backwards=backwards).encode()


def decode_cursor(text: str, terms: Sequence[OrderTerm]) -> tuple[list[Any], bool]:
    """Read a cursor; return the sort key and the direction.

    Raises:
        UnprocessableError: not one of ours, or made for another order.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = Cursor.model_validate_json(raw)
        if cursor.order == spell(terms):
            pairs = zip(terms, cursor.key, strict=True)
            key = [_adapter(term).validate_python(value) for term, value in pairs]
            return key, cursor.backwards
    except (binascii.Error, ValidationError, ValueError, OverflowError) as error:
        message = "The cursor is damaged: start again without it."
        raise UnprocessableError(message) from error
    message = f"The cursor belongs to the order {cursor.order[:100]!r}: keep `sort` as it was."
    raise UnprocessableError(message)


def after(
    key: Sequence[Any], terms: Sequence[OrderTerm], *, backwards: bool
) -> ColumnElement[bool]:
    """Return the condition that a row comes after the key (keyset pagination).

    Columns may differ in direction, which a row-value comparison can't express:
    `a > x or (a = x and b < y) or …`.
    """
    alternatives: list[ColumnElement[bool]] = []
    for index, term in enumerate(terms):
        equal = [t.column == value for t, value in zip(terms[:index], key, strict=False)]
        alternatives.append(and_(*equal, term.beyond(key[index], backwards=backwards)))
    return or_(*alternatives)


def _adapter(term: OrderTerm) -> TypeAdapter[Any]:
    return TypeAdapter(term.column.type.python_type)
