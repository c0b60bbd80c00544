"""What may be called later, said by who can be called, without knowing who calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

MARK = "__deferrable__"
"""Attribute of a class whose methods may follow in a chain of calls."""
ClassT = TypeVar("ClassT", bound=type)


@dataclass(frozen=True, slots=True)
class CallableLater:
    """A module contributes one for a class whose public methods may be called in a worker.

    Where no module makes such calls, nothing comes of it: so a module can offer its services
    without requiring one.
    """

    provider: type
    """What the container provides."""
    name: str = ""
    """Stands on the wire; default: the class's name. Keep it when you rename the class."""
    aliases: tuple[str, ...] = ()
    """Former names, which jobs in flight may still carry."""


def chainable(cls: ClassT) -> ClassT:
    """Let a chain of calls go on with what a method returns: `to(…)` returns a marked draft."""
    setattr(cls, MARK, None)
    return cls
