"""MessagePack, in which BullMQ's scripts take their arguments."""

from __future__ import annotations

from typing import Any, cast

import msgpack  # type: ignore[import-untyped]  # it has no types


def pack(value: Any) -> bytes:
    """Return a value packed; texts and bytes stay apart."""
    return cast("bytes", msgpack.packb(value, use_bin_type=True))
