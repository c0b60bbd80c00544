"""The arguments of a method on their way through JSON: checked, written, and read again."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, NotRequired, cast
from uuid import UUID

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, SchemaError
from typing_extensions import TypedDict

from app.core.json_names import EITHER_NAME
from app.infrastructure.deferred.sameness import same

Arguments = dict[str, Any]
BYTES = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
"""JSON has no bytes."""
EXACT: ConfigDict = {"strict": True, "extra": "forbid", **BYTES}
"""An argument is what its annotation says, not what could be made of it."""
EXACT_TYPES = {kind for one in (str, int, bool, UUID) for kind in (one, NotRequired[one])}
"""Whose values are the same after any way through JSON."""
SCHEMA_ERRORS = (PydanticUserError, SchemaError, TypeError, NameError)
"""What pydantic raises for a type that JSON can't hold."""


class Adapter:
    """Checks, writes and reads the arguments of one method."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        """Take the type of each argument, by name.

        Raises:
            PydanticUserError, SchemaError, TypeError, NameError: JSON can't hold one of them.
        """
        # What is checked strictly can't come back as something else.
        self._is_exact = all(annotation in EXACT_TYPES for annotation in fields.values())
        kind = cast("Any", TypedDict)("Arguments", fields)
        kind.__pydantic_config__ = EXACT
        # In a list, because writing follows the configuration of the outermost type, and that of a
        # TypedDict does not count.
        whole: Any = types.GenericAlias(list, (kind,))
        self._adapter: TypeAdapter[list[Arguments]] = TypeAdapter(whole, config=EXACT)

    def check(self, arguments: Arguments) -> Arguments:
        """Return arguments as they are, once each is what its type says.

        Raises:
            ValidationError: one is not.
        """
        return self._adapter.validate_python([arguments])[0]

    def read(self, body: bytes) -> Arguments:
        """Return what `write` wrote; raises as `check`."""
        return self._adapter.validate_json(b"[%b]" % body, **EITHER_NAME)[0]

    def write(self, checked: Arguments) -> tuple[bytes, Arguments] | None:
        """Return arguments as JSON and as they come out of it; None, where that is not the same."""
        for unset in (True, False):  # what was not set in a model stays unset, where that is right
            try:
                body = self._adapter.dump_json([checked], exclude_unset=unset, warnings="error")
                if self._is_exact:
                    return body[1:-1], checked
                (received,) = self._adapter.validate_json(body, **EITHER_NAME)
            except (PydanticSerializationError, ValidationError, ValueError, RecursionError):
                continue
            if received == checked or same(received, checked):
                return body[1:-1], received
        return None
