"""Names of files: one narrow grammar that means the same on every disk and in every cloud.

A key is one or more names joined by `/`, such as `avatars/0190…/face.webp`. A name begins with a
letter, a digit or `_`, and goes on with those and `.`, `-`, `+`, `=`, `,`; it does not end with a
dot, which Azure refuses. What is not in the grammar can't be meant by it: no `..`, no empty name,
no backslash, no `%`, no NUL, no drive letter, nothing outside ASCII that two systems normalise
differently. Keys are made by the service; what people call their files goes into the metadata, or
through `safe_name`.
"""

from __future__ import annotations

import re
import unicodedata
from uuid import UUID

from app.infrastructure.storage.errors import InvalidKeyError

LONGEST_NAME = 200
"""Characters: file systems take 255, and the local driver adds to it."""
LONGEST_KEY = 800
"""Characters: S3, Azure and GCS take 1,024, a prefix of the bucket included."""
NAME = re.compile(rf"[A-Za-z0-9_](?:[A-Za-z0-9_.\-+=,]{{0,{LONGEST_NAME - 2}}}[A-Za-z0-9_\-+=,])?")
NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
"""Devices of Windows: no file there can have these names."""


def check_key(key: str) -> str:
    """Return the key.

    Raises:
        InvalidKeyError: it is none. The message does not repeat it: it may be an attack on whoever
            reads the log.
    """
    names = key.split("/") if len(key) <= LONGEST_KEY else ()
    if not names or not all(NAME.fullmatch(name) for name in names):
        message = (
            "A key is names of ASCII letters, digits and _.-+=, joined by /, each beginning with a "
            f"letter, a digit or _; a name has at most {LONGEST_NAME} of them, a key {LONGEST_KEY}."
        )
        raise InvalidKeyError(message)
    if any(RESERVED.fullmatch(name) for name in names):
        message = "A key can't hold the name of a device of Windows, such as con or nul."
        raise InvalidKeyError(message)
    return key


def is_key(text: str) -> bool:
    """Tell whether a file can have this key."""
    try:
        check_key(text)
    except InvalidKeyError:
        return False
    return True


def check_prefix(prefix: str) -> str:
    """Return a prefix of keys, a folder so to say, without the slash at its end; "" for all.

    Raises:
        InvalidKeyError: no key can begin like that.
    """
    return check_key(prefix.removesuffix("/")) if prefix else ""


def file_key(*parts: str | int | UUID) -> str:
    """Join parts to a key; none of them may hold a slash.

        file_key("avatars", user.id, safe_name(upload.filename))

    Raises:
        InvalidKeyError: a part is no name.
    """
    names = [str(part) for part in parts]
    if any("/" in name for name in names):
        message = "A part of a key holds a slash."
        raise InvalidKeyError(message)
    return check_key("/".join(names))


def safe_name(filename: str | None, default: str = "file") -> str:
    """Return a name for a key that resembles what somebody calls a file; `default` if nothing does.

    Accents are dropped, all else that can't be in a key becomes `-`; the ending is kept.
    """
    base = re.split(r"[/\\]", filename or "")[-1]
    ascii_only = unicodedata.normalize("NFKD", base).encode("ascii", "ignore").decode()
    name = NOT_IN_NAME.sub("-", ascii_only).strip(".-")
    stem, dot, ending = name.rpartition(".")
    longest = LONGEST_NAME // 2
    name = f"{stem[:longest]}{dot}{ending[:20]}" if stem else name[:longest]
    name = name.strip(".-")
    return f"{default}-{name}" if RESERVED.fullmatch(name) else name or default
