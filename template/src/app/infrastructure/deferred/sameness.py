"""Whether a value came out of JSON as what went in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any


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
    return type(received) is type(given) and bool(received == given)
