"""Whether a value came out of JSON as what went in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel


def same(received: Any, given: Any) -> bool:
    """Tell whether two values are equal, and of the same kind.

    Sequences of different classes may be the same, and so may mappings and sets: a parameter that
    takes a `Sequence` is given a tuple, and gets a list. Everything else keeps its class, so that
    neither a date under `Any`, which comes back as a text, nor a model that lost the fields of its
    subclass passes.
    """
    if isinstance(given, (str, bytes, bytearray)):
        return type(received) is type(given) and bool(received == given)
    if isinstance(given, Mapping):
        return (
            isinstance(received, Mapping)
            and received.keys() == given.keys()
            and all(same(received[key], value) for key, value in given.items())
            and set(map(type, received)) == set(map(type, given))
        )
    if isinstance(given, Sequence):
        return (
            isinstance(received, Sequence)
            and not isinstance(received, str)
            and len(received) == len(given)
            and all(map(same, received, given))
        )
    if isinstance(given, AbstractSet):
        return isinstance(received, AbstractSet) and bool(received == given)
    return type(received) is type(given) and (
        bool(received == given) or _is_moment(received, given)
    )


def _is_moment(received: Any, given: Any) -> bool:
    """Tell whether two are the same moment, or the same but for moments they hold.

    In the hour a clock is set back, a datetime of its zone equals none of another (PEP 495).
    """
    if isinstance(given, datetime):
        return bool(received.isoformat() == given.isoformat())
    if isinstance(given, BaseModel):
        private = given.__pydantic_private__ == received.__pydantic_private__
        return private and same(dict(received), dict(given))
    if is_dataclass(given):
        names = [field.name for field in fields(given)]
        return all(same(getattr(received, name), getattr(given, name)) for name in names)
    return False
