"""Filters a repository allows: the value comes from the client, the column never does."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute

Filter = Callable[[Any], ColumnElement[bool]]
"""Makes a condition from a value."""


def equals(column: InstrumentedAttribute[Any]) -> Filter:
    """Match rows whose column is the value."""
    return lambda value: column == value


def contains(column: InstrumentedAttribute[str]) -> Filter:
    """Match rows whose text contains the value, in any case; `%` and `_` mean themselves."""
    return lambda value: column.icontains(value, autoescape=True)


def at_least(column: InstrumentedAttribute[Any]) -> Filter:
    """Match rows whose column is the value or above."""
    return lambda value: column >= value


def before(column: InstrumentedAttribute[Any]) -> Filter:
    """Match rows whose column is below the value."""
    return lambda value: column < value


def one_of(column: InstrumentedAttribute[Any]) -> Filter:
    """Match rows whose column is among the values."""

    def condition(values: Collection[Any]) -> ColumnElement[bool]:
        return column.in_(list(values))

    return condition
