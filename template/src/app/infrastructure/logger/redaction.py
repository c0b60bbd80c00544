"""Keep secrets out of the log, and lines whole.

Two ways: by key (whatever is called password, token, …) and by value (what looks like a credential,
and every secret of the settings). One search per text decides whether there is anything to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import SecretBytes, SecretStr

MASK = "***"
SHORTEST_SECRET = 6
"""Characters; masking shorter values wherever they occur would garble the log."""
DEEPEST = 6
"""Levels of nested values that are looked into; what lies deeper is left out."""

_WORDS = (
    r"pass(?:word|wd|phrase)|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|authorization|cookie|credential|session[_-]?id|csrf|otp|dsn"
)
_KEY = re.compile(_WORDS, re.IGNORECASE)
_TRIGGER = re.compile(rf"{_WORDS}|bearer|basic|digest|eyJ|@|PRIVATE|AKIA|ASIA", re.IGNORECASE)
_VALUE = r"""\\?"[^"\\]*\\?"|'[^']*'|[^\s,;&'"}})\]]+"""
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.DOTALL),
        MASK,
    ),
    (re.compile(r"((?:set-)?cookie\\?[\"']?\s*[:=]\s*)[^\r\n]+", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"\b(bearer|basic|digest)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?"), MASK),
    (re.compile(r"\b([a-z][a-z0-9+.-]*://)[^\s/?#\"']*@", re.IGNORECASE), rf"\1{MASK}@"),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), MASK),
    (
        re.compile(
            rf"([\w-]*(?:{_WORDS})[\w-]*\\?[\"']?\s*(?:=>|[:=])\s*)(?:{_VALUE})", re.IGNORECASE
        ),
        rf"\1{MASK}",
    ),
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

_known: set[str] = set()
_known_pattern: re.Pattern[str] | None = None


def register_secret(value: str) -> None:
    """Mask this value wherever it occurs from now on. Values below 6 characters are ignored."""
    global _known_pattern  # noqa: PLW0603 - compiled once for all
    if len(value) < SHORTEST_SECRET or value in _known:
        return
    _known.add(value)
    longest_first = sorted(_known, key=len, reverse=True)
    _known_pattern = re.compile("|".join(map(re.escape, longest_first)))


def redact(text: str) -> str:
    """Return the text with secrets masked."""
    if _known_pattern is not None:
        text = _known_pattern.sub(MASK, text)
    if _TRIGGER.search(text) is None:
        return text
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def one_line(text: str) -> str:
    """Return the text with control characters spelled out: input can't forge a line."""
    if text.isprintable():
        return text
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def is_secret_key(key: str) -> bool:
    """Tell whether a value under this key must not be shown."""
    return _KEY.search(key) is not None


def clean(key: str, value: Any, depth: int = 0) -> Any:
    """Return a value that may be logged under `key`."""
    if value is None:
        return None
    if isinstance(value, (SecretStr, SecretBytes)) or (key and is_secret_key(key)):
        return MASK
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return one_line(redact(value))
    return _clean_other(value, depth)


def _clean_other(value: Any, depth: int) -> Any:
    if depth >= DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        return {one_line(redact(str(k))): clean(str(k), v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [clean("", item, depth + 1) for item in value]
    return one_line(redact(str(value)))
