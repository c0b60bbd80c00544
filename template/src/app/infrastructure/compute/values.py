"""Arguments and results on their way: inside the job, or kept elsewhere where they are too large.

Either way it is JSON of one form: `{"version": 1, "value": …}`, or `{"version": 1, "stored": {…}}`
with the key, and the hash the signature of the job covers.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from dishka import AsyncContainer
from loguru import logger
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from app.core.large_values import LargeValues
from app.infrastructure.compute.errors import ValueTooLargeError
from app.infrastructure.compute.settings import ComputeSettings
from app.infrastructure.queue import RejectJobError
from app.infrastructure.queue.codec import LARGEST_BODY, checked_body

VERSION = 1
"""Of the form. A process understands this one."""


class Stored(BaseModel):
    """Where a large value is."""

    key: str
    size: int
    sha256: str


class Packed(BaseModel):
    """What travels. What a newer minor change adds is ignored; a newer version is refused."""

    model_config = ConfigDict(extra="ignore")

    version: int
    value: Any = None
    stored: Stored | None = None


class Values:
    """Packs and unpacks, with what a module contributes for large values."""

    def __init__(
        self, container: AsyncContainer, settings: ComputeSettings, store: LargeValues | None
    ) -> None:
        """Keep large values in `store`; None: refuse them."""
        self._container = container
        self._largest = settings.compute_largest
        self._store = store

    async def pack(self, what: str, body: bytes, keep: timedelta) -> str:
        """Return what travels.

        Args:
            what: begins the sentence of an error: "the arguments of Reports.totals".
            body: JSON.
            keep: how long a large value may be asked for.

        Raises:
            ValueTooLargeError: says how large it is, and what to do.
            InvalidJobError: it is nested too deeply.
        """
        packed = b'{"version":%d,"value":%b}' % (VERSION, body)
        if len(packed) <= LARGEST_BODY:
            return checked_body(packed)
        if self._store is None:
            message = (
                f"{what} have {len(body)} bytes as JSON, and {LARGEST_BODY} fit into a job: pass "
                "where they are stored instead, or add a module that contributes `LargeValues`, "
                "such as file storage"
            )
            raise ValueTooLargeError(message)
        if len(body) > self._largest:
            message = (
                f"{what} have {len(body)} bytes as JSON, and {self._largest} are allowed: pass less"
                ", or raise COMPUTE_LARGEST"
            )
            raise ValueTooLargeError(message)
        stored = Stored(
            key=await self._store.put(self._container, body, keep),
            size=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
        )
        return Packed(version=VERSION, stored=stored).model_dump_json(exclude={"value"})

    async def unpack(self, packed: Packed) -> bytes:
        """Return the JSON that was packed.

        Raises:
            RejectJobError: it is not there any more, or not what it was.
        """
        if packed.stored is None:
            return to_json(packed.value)
        if self._store is None:
            message = "a value is stored elsewhere, and no module here contributes `LargeValues`"
            raise RejectJobError(message)
        body = await self._store.get(self._container, packed.stored.key)
        if hashlib.sha256(body).hexdigest() != packed.stored.sha256:
            message = f"the stored value {packed.stored.key!r} is not what was put there"
            raise RejectJobError(message)
        return body

    async def forget(self, packed: Packed) -> None:
        """Delete a large value; what fails is left to whoever cleans the store."""
        if packed.stored is None or self._store is None:
            return
        try:
            await self._store.delete(self._container, packed.stored.key)
        except Exception as error:  # noqa: BLE001 - of any store; the result is there
            logger.warning("A stored value can't be deleted: {}", error)


def parse(packed: str | bytes | Any) -> Packed:
    """Return what came over the wire, checked.

    Raises:
        RejectJobError: it is of a newer version, or something else.
    """
    try:
        text = isinstance(packed, (str, bytes))
        found = Packed.model_validate_json(packed) if text else Packed.model_validate(packed)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = f"no computation: {first['msg']} at {'.'.join(map(str, first['loc']))!r}"
        raise RejectJobError(message) from None
    if found.version != VERSION:
        message = (
            f"a computation of version {found.version}, this process reads {VERSION}: deploy it "
            "anew, then replay the job"
        )
        raise RejectJobError(message)
    return found
