"""How what pydantic wrote as JSON is read again."""

from __future__ import annotations

from typing import TypedDict


class _Names(TypedDict):
    by_alias: bool
    by_name: bool


EITHER_NAME: _Names = {"by_alias": True, "by_name": True}
"""Models are written by the names of their fields, or by aliases where they say so themselves. By
default one that has aliases is read by those alone: it would not come back. Where both could be
meant, one field's alias being another's name, it is the alias."""
