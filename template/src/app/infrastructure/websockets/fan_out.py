"""Events over a Redis that is for WebSockets alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from dishka import AsyncContainer
from loguru import logger
from pydantic import SecretStr

from app.core.events import Envelope
from app.core.settings import AppSettings
from app.infrastructure.event_bus import EventBus, Transport, TransportChoice
from app.infrastructure.event_bus.dispatcher import Dispatcher
from app.infrastructure.event_bus.patterns import matches
from app.infrastructure.event_bus.settings import EventBusSettings
from app.infrastructure.event_bus.subscriptions import Subscriptions
from app.infrastructure.event_bus_redis.streams import Streams
from app.infrastructure.event_bus_redis.transport import RedisTransport
from app.infrastructure.live import ChannelCatalog
from app.infrastructure.redis import KeySpace
from app.infrastructure.redis.client import build_client
from app.infrastructure.redis.settings import RedisSettings
from app.infrastructure.websockets.settings import WebSocketSettings

WRITE_SECONDS = 1.0
"""How long a publisher may be held up."""
PAUSE_SECONDS = 5.0
"""After a failure nothing is sent for so long: publishers must not wait for a server that is gone.
"""


class FanOut:
    """Where WebSockets hear events: the bus, or a bus of their own over `WEBSOCKET_REDIS_URL`."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a bus is made of
        self,
        container: AsyncContainer,
        bus: EventBus,
        dispatcher: Dispatcher,
        catalog: ChannelCatalog,
        settings: WebSocketSettings,
        bus_settings: EventBusSettings,
        redis_settings: RedisSettings,
        keys: KeySpace,
        app: AppSettings,
    ) -> None:
        """Prepare; nothing is connected yet."""
        self._shared = bus
        self._own: EventBus | None = None
        self._patterns = {p for channel in catalog.channels.values() for p in channel.events}
        self._try_at = 0.0
        self.lost = 0
        """Events that could not be sent, since the start."""
        url = settings.websocket_redis_url.get_secret_value()
        if not url or not settings.enable_websockets:
            return
        # Nothing of the other server's credentials may reach this one.
        there = {
            "redis_url": SecretStr(url),
            "redis_username": None,
            "redis_password": SecretStr(""),
        }
        redis = redis_settings.model_copy(update=there)
        own = {"event_bus_namespace": "", "event_bus_group": ""}
        heard = bus_settings.model_copy(update=own)
        connect = partial(build_client, redis, redis.address, app.app_name)
        streams = Streams.of(heard, KeySpace(f"{keys.prefix}:websockets"))

        async def build(_: AsyncContainer) -> Transport:
            return RedisTransport(connect, streams, heard, redis.redis_timeout)

        choice = TransportChoice(name="websockets", build=build)
        self._own = EventBus(container, choice, Subscriptions(()), dispatcher, heard)

    @property
    def bus(self) -> EventBus:
        """What WebSockets follow."""
        return self._own or self._shared

    @property
    def is_well(self) -> bool:
        """Whether the last event could be sent."""
        return not self._try_at

    async def start(self) -> None:
        """Connect.

        Raises:
            EventBusUnavailableError: the server can't be reached.
        """
        if self._own:
            await self._own.start()
            await self._own.consume(group=False)

    async def deliver(self, envelopes: Sequence[Envelope]) -> None:
        """Send on what channels show. Never fails: who publishes has done his work."""
        if self._own is None:
            return
        shown = [item for item in envelopes if any(matches(p, item.name) for p in self._patterns)]
        if not shown:
            return
        now = asyncio.get_running_loop().time()
        if now < self._try_at:
            self.lost += len(shown)
            return
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self._own.deliver(shown)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not the publisher's
            if self.is_well:
                logger.error("WebSockets miss events: {}", type(error).__name__)
            self.lost += len(shown)
            self._try_at = now + PAUSE_SECONDS
        else:
            self._try_at = 0.0

    async def drain(self, grace: float) -> None:
        """Hear no more."""
        if self._own:
            await self._own.drain(grace)

    async def stop(self) -> None:
        """Disconnect."""
        if self._own:
            await self._own.stop()
