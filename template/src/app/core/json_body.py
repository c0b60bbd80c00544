"""Read JSON bodies as strictly as RFC 8259 allows, so that nothing unspeakable reaches a column."""

from __future__ import annotations

import json
import math
import re
from json import JSONDecodeError
from typing import Any, NoReturn

from fastapi import Request

NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""An escaped U+0000; an even number of backslashes before it would only be backslashes."""


def parse_json(body: bytes) -> Any:
    r"""Parse a body.

    Refused beside what is no JSON: other encodings than UTF-8 (§8.1), `NaN` and `Infinity` (§6),
    numbers no double can hold, integers of more than 4,300 digits, halves of surrogate pairs
    (§8.2), and U+0000, which PostgreSQL can't store.

    Raises:
        JSONDecodeError: always this one, so that FastAPI answers 422 for each.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        _refuse("the text is not UTF-8", error.start)
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except JSONDecodeError:
        raise
    except RecursionError:
        _refuse("it is nested too deeply")
    except ValueError:
        _refuse("a number is too long")
    if "\\u" in text:
        _check_escapes(text, value)
    return value


def _check_escapes(text: str, value: Any) -> None:
    if found := NUL.search(text):
        _refuse("the character U+0000 is not accepted", found.start())
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        _refuse("half of a surrogate pair stands alone")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        _refuse("a number is too large")
    return value


def _refuse_constant(name: str) -> NoReturn:
    _refuse(f"{name} is not JSON")


def _refuse(reason: str, position: int = 0) -> NoReturn:
    raise JSONDecodeError(reason, "", position) from None


class StrictRequest(Request):
    """A request whose JSON is read by `parse_json`."""

    async def json(self) -> Any:
        """Return the parsed body; parsed once.

        Raises:
            JSONDecodeError: see `parse_json`.
        """
        if not hasattr(self, "_json"):
            self._json = parse_json(await self.body())
        return self._json
