"""The few frames that come with every job, read and written without the library's detours.

`aiormq` opens, declares, subscribes, keeps alive and closes. What it does with a message costs as
much as all the rest of a job: three frames, each through two queues and a dozen objects. So what
comes from the socket is looked at before it gets it: deliveries and confirms of channels that are
tapped are taken out here, everything else is passed on as it is. (AMQP 0-9-1, 4.2.3 and 4.2.6;
method numbers in 1.8.)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from struct import Struct, pack, unpack_from
from typing import Any, NamedTuple, Protocol, SupportsIndex

from aiormq.connection import TransportFactory
from pamqp.header import ContentHeader
from yarl import URL

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
KINDS = {METHOD, HEADER, BODY, HEARTBEAT}
END = 0xCE
BASIC = 60
DELIVER, RETURN, ACK, NACK = (BASIC, 60), (BASIC, 50), (BASIC, 80), (BASIC, 120)
OVERHEAD = 8
"""Bytes of a frame beside its payload."""
START = Struct(">BHI")
IDS = Struct(">HH")
SIGN_OF_LIFE = START.pack(HEARTBEAT, 0, 0) + bytes([END])
SIGN_SECONDS = 1.0
"""The library gives up a connection it gets no frame of; what is taken out here counts as well."""
SIMPLE = 1 << 15 | 1 << 13 | 1 << 12 | 1 << 7 | 1 << 5
"""Property flags of our own messages: content type, headers, delivery mode, id and type."""
JOB_KEY = b"\x03jobS"
LONGEST_BUFFER = 1 << 20
"""Bytes that may wait to be written; who has more waits for the socket."""


class Content(NamedTuple):
    """A message: what of its properties matters, and its body."""

    message_id: object
    message_type: object
    headers: Any
    body: bytes


class Tapped(Protocol):
    """Who gets the frames of a channel."""

    def delivered(self, tag: int, content: Content) -> None:
        """A message has come."""
        ...

    def confirmed(self, tag: int, *, multiple: bool, taken: bool) -> None:
        """The broker has taken a message, or refuses it."""
        ...

    def returned(self, content: Content) -> None:
        """A message found no queue."""
        ...


class _Channel:
    """What is known of a tapped channel in the middle of a message."""

    __slots__ = ("content", "left", "method", "parts", "tag", "tapped")

    def __init__(self, tapped: Tapped) -> None:
        self.tapped = tapped
        self.method: tuple[int, int] | None = None
        self.tag = 0
        self.left = 0
        self.parts: list[bytes] = []
        self.content = Content(None, None, None, b"")

    def take(self, kind: int, data: bytes, at: int, size: int) -> bool:
        """Take a frame; False: it is the library's."""
        if kind == METHOD:
            return self._method(data, at)
        if self.method is None:
            return False
        if kind == HEADER:
            self.left = unpack_from(">Q", data, at + 4)[0]
            self.content = _properties(data, at, size)
            self.parts.clear()
        else:
            self.parts.append(data[at : at + size])
            self.left -= size
        if self.left <= 0:
            self._whole()
        return True

    def _method(self, data: bytes, at: int) -> bool:
        method = IDS.unpack_from(data, at)
        if method in {ACK, NACK}:
            tag, bits = unpack_from(">QB", data, at + 4)
            self.tapped.confirmed(tag, multiple=bool(bits & 1), taken=method == ACK)
            return True
        if method == DELIVER:
            self.tag = unpack_from(">Q", data, at + 5 + data[at + 4])[0]
        elif method != RETURN:
            return False
        self.method = method
        return True

    def _whole(self) -> None:
        method, self.method = self.method, None
        body = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        content = self.content._replace(body=body)
        if method == DELIVER:
            self.tapped.delivered(self.tag, content)
        else:
            self.tapped.returned(content)


def _properties(data: bytes, at: int, size: int) -> Content:
    """Read a content header: ours by hand, any other as the library does."""
    if unpack_from(">H", data, at + 12)[0] == SIMPLE:
        place = at + 15 + data[at + 14]
        length = unpack_from(">I", data, place)[0]
        end = place + 4 + length
        first = length > len(JOB_KEY) + 4 and data.startswith(JOB_KEY, place + 4)
        if first and length == len(JOB_KEY) + 4 + unpack_from(">I", data, place + 9)[0]:
            job = data[place + 13 : end]
            place = end + 2 + data[end + 1]
            message_id = data[end + 2 : place].decode("utf-8", "replace")
            kind = data[place + 1 : place + 1 + data[place]].decode("utf-8", "replace")
            return Content(message_id, kind, {"job": job}, b"")
    header = ContentHeader()
    try:
        header.unmarshal(data[at : at + size])
    except Exception:  # noqa: BLE001 - a foreign one nobody can read is no job; the connection lives
        return Content(None, None, None, b"")
    said = header.properties
    return Content(said.message_id, said.message_type, said.headers, b"")


class Tap(asyncio.StreamReader):
    """What the library reads from, with the tapped frames taken out."""

    def __init__(self) -> None:
        """Pass on everything, until a channel is tapped."""
        super().__init__(limit=2**16, loop=asyncio.get_running_loop())
        self._rest = b""
        self._channels: dict[int, _Channel] = {}
        self._signed = 0.0
        self._foreign = False

    def tap(self, channel: int, tapped: Tapped) -> None:
        """Take the frames of a channel out from now on."""
        self._channels[channel] = _Channel(tapped)

    def untap(self, channel: int) -> None:
        """Pass on the frames of a channel again."""
        self._channels.pop(channel, None)

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        """See `asyncio.StreamReader`."""
        if self._foreign:
            super().feed_data(data)
            return
        self._look(self._rest + bytes(data))

    def _look(self, data: bytes) -> None:
        """Take out what is tapped, and pass on the rest."""
        at, have = 0, len(data)
        passed: list[bytes] = []
        taken = False
        while have - at >= START.size:
            kind, channel, size = START.unpack_from(data, at)
            if kind not in KINDS:  # no frame at all: "AMQP", when versions do not agree
                self._foreign = True
                passed.append(data[at:])
                at = have
                break
            after = at + size + OVERHEAD
            if after > have:
                break
            known = self._channels.get(channel)
            if known is not None and known.take(kind, data, at + START.size, size):
                taken = True
            else:
                passed.append(data[at:after])
            at = after
        self._rest = data[at:]
        if taken and time.monotonic() - self._signed > SIGN_SECONDS:
            self._signed = time.monotonic()
            passed.append(SIGN_OF_LIFE)
        if passed:
            super().feed_data(b"".join(passed))


class TappedTransport(TransportFactory):
    """Opens a connection whose frames can be tapped, and writes frames to it."""

    def __init__(self) -> None:
        """Prepare; the library calls `create`."""
        self.tap: Tap
        self._writer: asyncio.StreamWriter
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    async def create(
        self, url: URL, **kwargs: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See `TransportFactory`."""
        provider = kwargs.pop("ssl_context_provider", None)
        context = await provider.get_context() if url.scheme == "amqps" else None
        self.tap = Tap()
        protocol = asyncio.StreamReaderProtocol(self.tap, loop=self._loop)
        transport, _ = await self._loop.create_connection(
            lambda: protocol, host=url.host or "", port=url.port or 0, ssl=context
        )
        self._writer = asyncio.StreamWriter(transport, protocol, self.tap, self._loop)
        return self.tap, self._writer

    def write(self, frames: bytes) -> None:
        """Write whole frames; those of one turn of the event loop leave together."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frames)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if not self._writer.is_closing():
            self._writer.write(b"".join(out))

    async def let_drain(self) -> None:
        """Wait while too much waits to be written."""
        if self._writer.transport.get_write_buffer_size() > LONGEST_BUFFER:
            await self._writer.drain()


def acknowledge(channel: int, tag: int, *, multiple: bool) -> bytes:
    """Return a basic.ack."""
    return pack(">BHIHHQBB", METHOD, channel, 13, *ACK, tag, multiple, END)


def give_back(channel: int, tag: int) -> bytes:
    """Return a basic.nack that asks for redelivery."""
    return pack(">BHIHHQBB", METHOD, channel, 13, *NACK, tag, 0b10, END)


def short(text: str) -> bytes:
    """Return a short string.

    Raises:
        ValueError: it has more than 255 bytes.
    """
    encoded = text.encode("utf-8", "surrogateescape")
    return bytes([len(encoded)]) + encoded


PUBLISH = pack(">HHH", BASIC, 40, 0)
CONTENT_START = pack(">HH", BASIC, 0)
CONTENT_TYPE = short("application/json")
PERSISTENT = b"\x02"


def publish(channel: int, way: tuple[str, str], said: Content, longest: int) -> bytes:
    """Return the frames that publish one of our messages, mandatory and persistent.

    Args:
        channel: its number.
        way: exchange and routing key.
        said: id, type and body; `headers` is the text of the header `job`.
        longest: bytes of a frame at most.
    """
    exchange, key = way
    method = PUBLISH + short(exchange) + short(key) + b"\x01"
    job: bytes = said.headers
    table = JOB_KEY + pack(">I", len(job)) + job
    content = (
        CONTENT_START
        + pack(">QH", len(said.body), SIMPLE)
        + CONTENT_TYPE
        + pack(">I", len(table))
        + table
        + PERSISTENT
        + short(str(said.message_id))
        + short(str(said.message_type))
    )
    frames = [_frame(METHOD, channel, method), _frame(HEADER, channel, content)]
    body, step = said.body, longest - OVERHEAD
    frames += [
        _frame(BODY, channel, body[begin : begin + step]) for begin in range(0, len(body), step)
    ]
    return b"".join(frames)


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return START.pack(kind, channel, len(payload)) + payload + b"\xce"
