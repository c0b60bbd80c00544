"""Send a stream to a cloud in parts, and leave nothing behind when it breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import obstore

from app.infrastructure.storage.content import Content
from app.infrastructure.storage.objects.errors import translated

if TYPE_CHECKING:  # obstore has these for type checkers only
    from obstore import PutResult
    from obstore.store import AzureStore, GCSStore, S3Store

PART = 8 << 20
"""Bytes of a part; S3 takes 10,000 parts."""
PARTS_AT_ONCE = 2
"""Parts of one file on their way at the same time: with PART, what a stream needs of memory."""
ABANDON_SECONDS = 10.0
"""How long to wait until a cloud has dropped the parts of an upload that broke off."""


class _BrokenOffError(Exception):
    """Ends the upload in obstore, which then drops the parts."""


Queue = asyncio.Queue[bytes | _BrokenOffError | None]


async def upload_stream(
    store: S3Store | AzureStore | GCSStore,
    key: str,
    content: Content,
    attributes: Mapping[str, str],
) -> PutResult:
    """Send the content.

    obstore drops the parts when the iterator it reads raises, but not when its caller is cancelled:
    those would be stored, and paid for, for ever. So it reads from a queue that we fill, in the
    caller's own task, and that says when the caller gives up.
    """
    queue: Queue = asyncio.Queue(1)
    sending = asyncio.ensure_future(
        obstore.put_async(
            store,
            key,
            _drain(queue),
            attributes=dict(attributes),
            use_multipart=True,
            chunk_size=PART,
            max_concurrency=PARTS_AT_ONCE,
        )
    )
    try:
        async for chunk in content:
            await _offer(queue, chunk, sending)
        await _offer(queue, None, sending)
        with translated():
            return await asyncio.shield(sending)
    except BaseException:
        await _abandon(queue, sending)
        raise


async def _drain(queue: Queue) -> AsyncIterator[bytes]:
    while (item := await queue.get()) is not None:
        if isinstance(item, _BrokenOffError):
            raise item
        yield item


async def _offer(
    queue: Queue,
    item: bytes | None,
    sending: asyncio.Future[PutResult],
) -> None:
    """Hand over an item; raise what the upload failed with, should nobody take it any more."""
    offering = asyncio.ensure_future(queue.put(item))
    either: list[asyncio.Future[Any]] = [offering, sending]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        offering.cancel()  # it is done, or nobody will take it
    if sending.done():
        with translated():
            await sending


async def _abandon(queue: Queue, sending: asyncio.Future[PutResult]) -> None:
    while not sending.done() and not queue.empty():
        queue.get_nowait()
    if not sending.done():
        queue.put_nowait(_BrokenOffError())
        await asyncio.wait([sending], timeout=ABANDON_SECONDS)
    if sending.done() and not sending.cancelled():
        sending.exception()  # seen
