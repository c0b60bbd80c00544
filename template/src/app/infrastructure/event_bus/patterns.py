"""Patterns of names, as topic exchanges of brokers have them."""

from __future__ import annotations

import re
from functools import lru_cache

from app.core.errors import ConfigurationError

WORD = r"[a-z0-9_-]+"
PATTERN = re.compile(rf"({WORD}|\*|#)(\.({WORD}|\*|#))*")
LONGEST_PATTERN = 200


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return the expression for a pattern: `*` is one word, `#` none or any number of words.

    Raises:
        ConfigurationError: it is no pattern.
    """
    if not PATTERN.fullmatch(pattern) or len(pattern) > LONGEST_PATTERN:
        message = (
            f"{pattern!r} is no pattern of events: take words of small letters, digits, _ and -, "
            "with dots between them; * stands for one word, # for any number"
        )
        raise ConfigurationError(message)
    # Each word brings the dot before it, so that `#` may stand for nothing at all.
    parts = {"*": rf"\.{WORD}", "#": rf"(?:\.{WORD})*"}
    words = (parts.get(word, rf"\.{re.escape(word)}") for word in _without_runs(pattern))
    return re.compile("".join(words))


def _without_runs(pattern: str) -> list[str]:
    """Return the words; `#.#` says no more than `#`, and would take the expression long."""
    words: list[str] = []
    for word in pattern.split("."):
        if word != "#" or words[-1:] != ["#"]:
            words.append(word)
    return words


def matches(pattern: str, name: str) -> bool:
    """Tell whether a name fits a pattern."""
    return compiled(pattern).fullmatch(f".{name}") is not None


def is_wild(pattern: str) -> bool:
    """Tell whether more than one name may fit."""
    return "*" in pattern or "#" in pattern
