"""Keys and tags as people write them, and as Redis knows them.

A key is a path: `user:42:posts`. What is invalidated at `user:42` is gone there and below it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from enum import Enum
from hashlib import sha256
from itertools import accumulate
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic_core import to_json

from app.infrastructure.redis import KeySpace

LONGEST = 1_000
"""Characters of a key or tag."""
MOST_PARTS = 12
LONGEST_VALUE = 80
"""Characters of a part that `cache_key` makes; so many of them fit, and longer ones by a digest."""
MOST_TAGS = 16
"""Each part and each tag is one more key to read."""
READABLE = re.compile(r"[A-Za-z0-9_.:@=+,%~!/-]{1,160}")
"""What is shown in Redis as it is; the rest by its digest. No braces: they decide which node of a
cluster has a key."""
HIDDEN = "in JSON its secrets are stars, and fields with exclude=True are not there"
CONSTANTS: dict[Any, str] = {None: "%none", True: "%true", False: "%false"}


def cache_key(*parts: Any) -> str:
    """Return the key, or tag, of these parts: `cache_key("user", 42)` is `user:42`.

    A colon inside a part is written as `%3A`, so that no value of a caller reaches into another
    part. Numbers and text that look alike are alike; other values are written as JSON. A value of
    more than 80 characters is written as a digest: what a caller sends is never too long.

    Raises:
        TypeError: JSON leaves out what tells a value from others; see `hides`.
    """
    return ":".join(_short(_part(value)) for value in parts)


def _short(part: str) -> str:
    return part if len(part) <= LONGEST_VALUE else f"%#{_digest(part)}"


def _part(value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return value.replace("%", "%25").replace(":", "%3A") or "%"
    if value is None or isinstance(value, bool):
        return CONSTANTS[value]
    if isinstance(value, int | UUID):
        return str(value)
    if hides(value):
        message = f"a key of the cache can't be made of a {type(value).__name__}: {HIDDEN}"
        raise TypeError(message)
    # "%" and a quotation mark, brace or digit: nothing above begins so, nor does a digest.
    return "%" + to_json(value).decode().replace("%", "%25").replace(":", "%3A")


PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
"""Hide nothing, and are most of what there is."""


def hides(value: Any) -> bool:
    """Tell whether two such values may be one JSON: it has secrets, or fields that are left out.

    Who asks with one of them would get what is kept for the other.
    """
    if type(value) in PLAIN:
        return False
    fields = getattr(type(value), "__pydantic_fields__", {}).values()
    if isinstance(value, Secret | SecretBytes | SecretStr) or any(
        field.exclude or field.exclude_if for field in fields
    ):
        return True
    if isinstance(value, BaseModel):
        return any(map(hides, (*vars(value).values(), *(value.model_extra or {}).values())))
    if is_dataclass(value) and not isinstance(value, type):
        return any(hides(getattr(value, item.name)) for item in dataclass_fields(value))
    if isinstance(value, Mapping):
        return any(map(hides, value.values()))
    return isinstance(value, list | tuple | set | frozenset) and any(map(hides, value))


def checked(text: str, what: str = "key") -> str:
    """Return a key or tag.

    Raises:
        ValueError: empty, too long, too many parts, or one of them empty.
    """
    parts = text.split(":")
    if not 0 < len(text) <= LONGEST or len(parts) > MOST_PARTS or not all(parts):
        message = (
            f"a {what} of the cache has 1 to {MOST_PARTS} parts between colons, none empty, and at "
            f"most {LONGEST} characters, not {text[:80]!r}"
        )
        raise ValueError(message)
    return text


def paths(key: str) -> list[str]:
    """Return the key and everything above it: `user`, `user:42`, `user:42:posts`."""
    return list(accumulate(key.split(":"), lambda above, part: f"{above}:{part}"))


class Names:
    """Makes the keys in Redis."""

    def __init__(self, keys: KeySpace) -> None:
        """Begin them with the service's prefix."""
        self._keys = keys
        self.everything = keys("cache", "stamp")
        """The stamp all entries depend on."""
        self.counters = keys("cache", "counters")

    def entry(self, key: str, schema: str) -> str:
        """Where a value is kept; each schema has its own."""
        return self._keys.tagged(_shown(key), "cache", schema)

    def lock(self, key: str, schema: str) -> str:
        """Who computes it; on the same node of a cluster."""
        return self._keys.tagged(_shown(key), "cache", schema, "lock")

    def path(self, path: str) -> str:
        """The stamp of a key and of what is below it."""
        return self._keys.tagged(_shown(path), "cache", "stamp")

    def tag(self, tag: str) -> str:
        """The stamp of a tag."""
        return self._keys.tagged(_shown(tag), "cache", "tag")

    def stamps(self, key: str, tags: Sequence[str]) -> tuple[str, ...]:
        """Return what an entry depends on."""
        if len(tags) > MOST_TAGS:
            message = f"an entry of the cache has at most {MOST_TAGS} tags"
            raise ValueError(message)
        return (
            self.everything,
            *map(self.path, paths(checked(key))),
            *(self.tag(checked(tag, "tag")) for tag in sorted(set(tags))),
        )


def _shown(text: str) -> str:
    if READABLE.fullmatch(text):
        return text
    return f"#{_digest(text)}"


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]
