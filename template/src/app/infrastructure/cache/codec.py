"""Values as JSON, read and written by their annotation. Never pickle."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from hashlib import sha256
from types import GenericAlias, NoneType
from typing import Any, Generic, TypeVar

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation
from pydantic_core import PydanticSerializationError, SchemaError

from app.core.errors import NotFoundError

ValueT = TypeVar("ValueT")
FAITHFUL = ConfigDict(
    ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants"
)
VERSION = 1
"""Of the format of entries."""
TYPES = 1_024
"""Whose codecs are remembered: making one takes milliseconds."""


class UncacheableError(TypeError):
    """The cache can't keep this."""


class Codec(Generic[ValueT]):
    """Writes and reads the values of one type."""

    def __init__(self, annotation: Any, title: str = "") -> None:
        """Read the schema.

        Args:
            annotation: the type, as a method's return annotation.
            title: whose it is, for the error.

        Raises:
            UncacheableError: JSON can't hold it.
            NameError: it names what is not defined yet.
        """
        title = title or repr(annotation)
        if annotation is None or annotation is NoneType:
            message = f"{title} can't be cached: it returns nothing"
            raise UncacheableError(message)
        try:
            # In a list, because bytes are written as the configuration of the outermost type says.
            whole: Any = GenericAlias(list, (annotation,))
            self._adapter: TypeAdapter[list[ValueT]] = TypeAdapter(whole, config=FAITHFUL)
        except PydanticUndefinedAnnotation:
            raise
        except (PydanticUserError, SchemaError) as error:
            reason = str(error).splitlines()[0]
            message = (
                f"{title} can't be cached: {reason}. Let it return a pydantic model, a dataclass "
                "or what JSON knows"
            )
            raise UncacheableError(message) from error
        self._leaves_out = _leaves_out(self._adapter.core_schema)
        self.fingerprint = self._fingerprint(annotation, title)

    def _fingerprint(self, annotation: Any, title: str) -> str:
        """Return what is another one as soon as the schema is."""
        try:
            described: list[Any] = [
                self._adapter.json_schema(mode=mode) for mode in ("validation", "serialization")
            ]
        except PydanticUserError:  # a type of its own, for which there is no JSON schema
            described = [repr(annotation)]
        text = json.dumps([VERSION, *described], sort_keys=True)
        if '"writeOnly": true' in text:
            message = f"{title} can't be cached: secrets are written as stars"
            raise UncacheableError(message)
        return sha256(text.encode()).hexdigest()[:12]

    def write(self, value: ValueT) -> str:
        """Return a value as JSON.

        Raises:
            UncacheableError: it is not what the annotation says, or would not come back.
        """
        if self._leaves_out:
            message = "a field with exclude=True would not come back"
            raise UncacheableError(message)
        try:
            body = self._adapter.dump_json(
                [value], by_alias=False, round_trip=True, warnings="error"
            )
            text = body.decode()[1:-1]
            self.read(text)
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            raise UncacheableError(_reason(error)) from error
        return text

    def read(self, text: str) -> ValueT:
        """Return the value of a text.

        Raises:
            ValidationError: it is none.
        """
        return self._adapter.validate_json(f"[{text}]", by_alias=False, by_name=True)[0]


def _leaves_out(schema: Any) -> bool:
    """Tell whether JSON lacks a field: what comes back would have its default."""
    if isinstance(schema, dict):
        leaves_out = schema.get("serialization_exclude") or schema.get("serialization_exclude_if")
        return bool(leaves_out) or any(map(_leaves_out, schema.values()))
    return isinstance(schema, list | tuple) and any(map(_leaves_out, schema))


def _reason(error: Exception) -> str:
    """Return what is wrong with a value, without the value: it may be anybody's data."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'][1:]))} {first['msg']}".strip()
    expected = re.search("Expected `[^`]*`", str(error))
    return expected[0] if expected else type(error).__name__


@lru_cache(TYPES)
def _codec_of(annotation: Any, title: str) -> Codec[Any]:
    return Codec(annotation, title)


def codec_of(annotation: Any, title: str = "") -> Codec[Any]:
    """Return the codec of a type; raises as `Codec` does."""
    try:
        hash(annotation)
    except TypeError:  # such as Annotated[int, {...}]
        return Codec(annotation, title)
    return _codec_of(annotation, title)


def write_missing(error: NotFoundError | None) -> str:
    """Return as JSON that there is nothing: None, or the error that says so."""
    if error is None:
        return "null"
    kind = type(error)
    try:
        return json.dumps(
            [
                f"{kind.__module__}.{kind.__qualname__}",
                error.detail,
                error.headers,
                error.extensions,
            ]
        )
    except (TypeError, ValueError) as reason:
        raise UncacheableError(str(reason)) from reason


def read_missing(text: str) -> NotFoundError | None:
    """Return what `write_missing` has written.

    Raises:
        ValueError: this process knows no such error.
    """
    found = json.loads(text)
    if found is None:
        return None
    name, detail, headers, extensions = found
    kind = _errors().get(name)
    if kind is None:
        message = f"no error is called {name}"
        raise ValueError(message)
    error = kind.__new__(kind)
    # Its own constructor may want other arguments; what makes the answer is here.
    NotFoundError.__init__(error, detail, headers=headers, **extensions)
    return error


def _errors() -> dict[str, type[NotFoundError]]:
    """Return the classes by name: what comes from Redis is looked up here and nowhere else."""
    found: list[type[NotFoundError]] = [NotFoundError]
    for kind in found:
        found += kind.__subclasses__()
    return {f"{kind.__module__}.{kind.__qualname__}": kind for kind in found}
