"""All clients of this process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from ipaddress import IPv6Address, IPv6Network, ip_address

from loguru import logger

from app.core.tasks import end
from app.infrastructure.event_bus import EventBus
from app.infrastructure.health import Readiness
from app.infrastructure.live.channels import Selection
from app.infrastructure.live.client import LiveClient
from app.infrastructure.live.errors import TooManyClientsError
from app.infrastructure.live.messages import Messages
from app.infrastructure.live.ports import Viewer
from app.infrastructure.live.settings import LiveSettings
from app.infrastructure.logger import current_context

REPLAYS = 8
"""Clients for which what came before is read at one time: after a deployment all come back."""
WATCH_SECONDS = 0.5
LAST_WORDS = 1.0
"""Seconds a client has to take what is sent when the process ends."""
RETRY_SECONDS = 10
TOO_SLOW = "too slow"
"""Events came faster than it took them."""
STUCK = "stuck"
"""It took nothing for too long."""


class Clients:
    """Opens streams up to the limits, cuts off slow clients, ends all when the process does."""

    def __init__(self, settings: LiveSettings, bus: EventBus, readiness: Readiness) -> None:
        """Begin with none."""
        self._settings = settings
        self._bus = bus
        self._stopping = readiness.stopping
        self._messages = Messages()
        self._replays = asyncio.Semaphore(REPLAYS)
        self._open: set[LiveClient] = set()
        self._by_owner: Counter[str] = Counter()
        self._watching: asyncio.Task[None] | None = None
        self.counts: Counter[str] = Counter()
        """opened, refused, and cut by reason, since the start."""

    def __len__(self) -> int:
        """Return how many streams are open."""
        return len(self._open)

    def start(self) -> None:
        """Begin to watch over them."""
        self._watching = asyncio.create_task(self._watch(), name="live: watch")

    async def stop(self) -> None:
        """End all that are left."""
        for client in tuple(self._open):
            client.follower.end()
        if self._watching:
            await end(self._watching)
            self._watching = None

    @asynccontextmanager
    async def open(
        self,
        viewer: Viewer | None,
        selections: Iterable[Selection],
        cut: Callable[[], None],
        *,
        after: str | None = None,
        bus: EventBus | None = None,
    ) -> AsyncIterator[LiveClient]:
        """Have a stream open for the block.

        Args:
            viewer: who follows; None: nobody known.
            selections: what.
            cut: ends the connection at once.
            after: the last position the client has seen.
            bus: where events come from, by default the service's.

        Raises:
            TooManyClientsError: no more may be open.
            EventBusUnavailableError: what came before can't be read.
        """
        bus = bus or self._bus
        client = LiveClient(viewer, selections, self._messages, cut)
        buffer, most = self._settings.live_buffer, self._settings.live_replay
        with self._counted(viewer):
            async with AsyncExitStack() as stack:
                follow = bus.follow(after=after, where=client.wants, buffer=buffer, most=most)
                async with self._replays if after is not None else nullcontext():
                    follower = await stack.enter_async_context(follow)
                client.begin(bus, follower)
                self._open.add(client)
                if self._stopping.is_set():
                    follower.end()
                try:
                    yield client
                finally:
                    self._open.discard(client)

    @contextmanager
    def sending(self, client: LiveClient) -> Iterator[None]:
        """Have something sent to a client in the block, within `LIVE_SEND_TIMEOUT`."""
        client.busy_since = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            client.busy_since = None

    def cut(self, client: LiveClient, reason: str) -> None:
        """Note that a client is cut off, once."""
        if not client.was_cut:
            client.was_cut = reason
            self.counts[reason] += 1
            logger.warning("A client of live events is cut off: {}", reason)

    @contextmanager
    def _counted(self, viewer: Viewer | None) -> Iterator[None]:
        settings = self._settings
        if viewer:
            owner, most = f"user {viewer.user_id}", settings.live_clients_per_user
        else:
            address = _site(current_context().client_address)
            owner, most = f"address {address}", settings.live_clients_per_address
        if self._by_owner[owner] >= most or self._by_owner.total() >= settings.live_max_clients:
            self.counts["refused"] += 1
            raise TooManyClientsError(headers={"Retry-After": str(RETRY_SECONDS)})
        self._by_owner[owner] += 1
        self.counts["opened"] += 1
        try:
            yield
        finally:
            self._by_owner[owner] -= 1
            if not self._by_owner[owner]:
                del self._by_owner[owner]

    async def _watch(self) -> None:
        """Cut off who takes nothing; let all come to their end when the process does."""
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await self._stopping.wait()
            self._cut_slow()
        for client in tuple(self._open):
            client.follower.end()
        await asyncio.sleep(LAST_WORDS)
        for client in tuple(self._open):
            client.cut()

    def _cut_slow(self) -> None:
        now = asyncio.get_running_loop().time()
        for client in tuple(self._open):
            since = client.busy_since
            if client.follower.is_too_slow:
                self.cut(client, TOO_SLOW)
                # One that is not stuck reads of it by itself, and says goodbye.
                if since is not None and now - since > WATCH_SECONDS:
                    client.cut()
            elif since is not None and now - since > self._settings.live_send_timeout:
                self.cut(client, STUCK)
                client.cut()


def _site(address: str | None) -> str:
    """Return whose address it is: a site gets at least a /64 of IPv6 (RFC 6177)."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return address or "unknown"
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(IPv6Network((int(parsed), 64), strict=False))
    return str(parsed)
