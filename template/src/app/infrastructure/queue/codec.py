"""Payloads on their way into a job: JSON, of bounded size and depth."""

from __future__ import annotations

import json
from typing import Any, Literal, Protocol, TypeVar

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError, to_json

from app.infrastructure.queue.errors import InvalidJobError

ResultT_co = TypeVar("ResultT_co", covariant=True)
LARGEST_BODY = 256 * 1024
"""Bytes of a payload as JSON."""
DEEPEST = 32
"""Levels of nesting."""


class ResultCodec(Protocol[ResultT_co]):
    """Writes the results of a handler, and reads them: a `TypeAdapter` does."""

    def dump_json(self, value: Any, /, *, warnings: Literal["error"]) -> bytes:
        """Return a result as JSON; raises what pydantic does."""
        ...

    def validate_json(self, data: str, /, *, by_alias: bool, by_name: bool) -> ResultT_co:
        """Return the result JSON holds; raises what pydantic does."""
        ...


def encode_payload(payload: Any, adapter: TypeAdapter[Any] | None = None) -> str:
    """Return a payload as JSON text.

    Args:
        payload: models, dataclasses, UUIDs, dates, Decimals, enums and bytes included.
        adapter: knows its declared type; without it, what the value itself says.

    Raises:
        InvalidJobError: not what is declared, can't be written as JSON, too large or too deep.
    """
    try:
        body = adapter.dump_json(payload, warnings="error") if adapter else to_json(payload)
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        message = f"the payload can't be written as JSON: {error}"
        raise InvalidJobError(message) from error
    return checked_body(body)


def checked_body(body: bytes) -> str:
    """Return JSON as text if its size and depth are within the bounds.

    Raises:
        InvalidJobError: too large or too deep.
    """
    if len(body) > LARGEST_BODY:
        message = (
            f"the payload has {len(body)} bytes, {LARGEST_BODY} are possible: store it elsewhere, "
            "and publish where it is"
        )
        raise InvalidJobError(message)
    text = body.decode()
    if _is_deep(text):
        message = f"the payload is nested more than {DEEPEST} levels deep"
        raise InvalidJobError(message)
    return text


def decode_body(body: str) -> Any:
    """Return what a body says.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return json.loads(body)
    except RecursionError as error:
        message = "nested too deeply"
        raise ValueError(message) from error


def _is_deep(text: str) -> bool:
    # Nearly every payload has fewer brackets than levels it may have: no look inside is needed.
    if text.count("{") + text.count("[") <= DEEPEST:
        return False
    deepest = level = 0
    in_string = skip = False
    for character in text:
        if skip:
            skip = False
        elif in_string:
            skip = character == "\\"
            in_string = character != '"'
        elif character == '"':
            in_string = True
        elif character in "{[":
            level += 1
            deepest = max(deepest, level)
        elif character in "}]":
            level -= 1
    return deepest > DEEPEST
