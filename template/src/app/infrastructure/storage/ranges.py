"""Parts of a file that a request asks for (RFC 9110 §14)."""

from __future__ import annotations

import re

from app.infrastructure.storage.errors import RangeNotSatisfiableError
from app.infrastructure.storage.files import FileInfo

ONE_RANGE = re.compile(r"bytes\s*=\s*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))", re.IGNORECASE)


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return first and last-plus-one position of the part a `Range` header names.

    None means the whole file. That is also the answer to what is malformed, in another unit, or
    several ranges at once: a server may ignore the header (§14.2).

    Raises:
        RangeNotSatisfiableError: there is no such part; with the `Content-Range` of §15.5.17.
    """
    found = ONE_RANGE.fullmatch(header.strip()) if header else None
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(size - int(suffix), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None  # invalid (§14.1.1), thus ignored
    if start >= end:
        raise RangeNotSatisfiableError(headers={"Content-Range": f"bytes */{size}"})
    return start, end


def matches(header: str | None, etag: str) -> bool:
    """Tell whether `If-None-Match` names this entity tag, compared weakly (§13.1.2)."""
    if header is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags


def still_valid(if_range: str | None, info: FileInfo, http_date: str) -> bool:
    """Tell whether a part may be sent for `If-Range`: compared strongly (§13.1.5)."""
    if if_range is None:
        return True
    condition = if_range.strip()
    return condition in (info.etag, http_date) and not condition.startswith("W/")
