"""URLs this service signs and serves itself.

HMAC-SHA256 (RFC 2104) over everything that decides what may be done: nothing of it can be changed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from urllib.parse import quote, urlencode

from app.infrastructure.storage.errors import InvalidSignatureError

PATH = "/files"
"""Where the routes are."""
PURPOSE = "plinth-file-1"
"""First of what is signed: no signature for something else is one for a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a URL allows."""

    method: str
    """GET, which HEAD goes with; or PUT."""
    key: str
    expires: int
    """Seconds since 1970."""
    content_type: str = ""
    """What is uploaded must have this type."""
    max_size: int = 0
    """What is uploaded may have so many bytes."""


class UrlSigner:
    """Signs with the first secret; accepts each, so that they can be changed in operation."""

    def __init__(self, secrets: Sequence[bytes], base_url: str = "") -> None:
        """Hold the secrets, and the address the URLs begin with."""
        self._secrets = tuple(secrets)
        self._base_url = base_url

    def sign(self, grant: Grant) -> str:
        """Return the URL that allows it."""
        query = {"expires": str(grant.expires)}
        if grant.method == "PUT":
            query |= {"type": grant.content_type, "max": str(grant.max_size)}
        query["signature"] = _digest(self._secrets[0], grant)
        return f"{self._base_url}{PATH}/{quote(grant.key)}?{urlencode(query)}"

    def check(self, grant: Grant, signature: str, now: datetime) -> None:
        """Accept a request.

        Raises:
            InvalidSignatureError: it is not signed, was changed, or comes too late. Which of them
                is not said.
        """
        given = signature.encode("utf-8", "replace")
        made = [_digest(secret, grant).encode() for secret in self._secrets]
        valid = any(hmac.compare_digest(given, digest) for digest in made)
        if not valid or now.timestamp() >= grant.expires:
            raise InvalidSignatureError


def _digest(secret: bytes, grant: Grant) -> str:
    mac = hmac.new(secret, digestmod=hashlib.sha256)
    for part in (PURPOSE, *map(str, astuple(grant))):
        text = part.encode("utf-8", "surrogatepass")
        mac.update(b"%d:" % len(text))  # so that nothing moves from one part to the next
        mac.update(text)
    return mac.hexdigest()
