"""Signatures: a worker knows that a call was written by a process that has the key.

HMAC-SHA256 (RFC 2104) over everything that decides what is done, and for whom.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from app.infrastructure.deferred.errors import InvalidCallError
from app.infrastructure.deferred.ports import IDEMPOTENCY
from app.infrastructure.queue import Job
from app.infrastructure.queue.headers import LOCALE, ROLE, TENANT, TRACEPARENT, USER

SIGNATURE = "deferred-signature"
SIGNED_AT = "deferred-signed-at"
COVERED = (SIGNED_AT, TRACEPARENT, USER, ROLE, TENANT, LOCALE, IDEMPOTENCY)
"""Headers that are signed too."""


class Signer:
    """Signs with the first key; accepts each of them, so that keys can be changed in operation."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Hold the keys; without one nothing is signed, and nothing asked for."""
        self._keys = tuple(keys)

    def sign(self, job: Job) -> Job:
        """Return the job with a signature, if there is a key."""
        if not self._keys:
            return job
        headers = {**job.headers, SIGNED_AT: datetime.now(UTC).isoformat()}
        headers[SIGNATURE] = _digest(self._keys[0], job, headers)
        return replace(job, headers=headers)

    def check(self, job: Job) -> None:
        """Accept a job.

        Raises:
            InvalidCallError: it is not signed, or not by one of the keys, or it was changed.
        """
        if not self._keys:
            return
        given = job.headers.get(SIGNATURE, "").encode("utf-8", "replace")
        made = [_digest(key, job, job.headers).encode() for key in self._keys]
        if not any(hmac.compare_digest(given, digest) for digest in made):
            message = "its signature is missing or wrong"
            raise InvalidCallError(message)


def _digest(key: bytes, job: Job, headers: Mapping[str, str]) -> str:
    parts = [job.name, job.id, job.queue, job.body, *(headers.get(name, "") for name in COVERED)]
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        text = part.encode("utf-8", "surrogatepass")
        mac.update(b"%d:" % len(text))  # so that nothing moves from one part to the next
        mac.update(text)
    return mac.hexdigest()
