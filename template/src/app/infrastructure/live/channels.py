"""Channels, and who may follow them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dishka import AsyncContainer
from loguru import logger

from app.core.discovery import Registry
from app.core.errors import BadRequestError, ConfigurationError
from app.core.events import Envelope
from app.infrastructure.event_bus.patterns import matches
from app.infrastructure.live.errors import (
    ChannelForbiddenError,
    TooManyChannelsError,
    UnknownChannelError,
)
from app.infrastructure.live.identity import refused
from app.infrastructure.live.ports import TOPIC, Access, Channel, Viewer
from app.infrastructure.live.settings import LiveSettings


@dataclass(frozen=True, slots=True)
class Selection:
    """A channel, or one topic of it, as a client follows it."""

    channel: Channel
    topic: str | None = None

    def __str__(self) -> str:
        """Return it as the client has written it."""
        name = self.channel.name
        return name if self.topic is None else f"{name}:{self.topic}"

    def takes(self, envelope: Envelope, viewer: Viewer | None) -> bool:
        """Tell whether an event is for this viewer. What its channel can't say is for nobody."""
        try:
            return self._fits(envelope, viewer)
        except Exception as error:  # noqa: BLE001 - the module's; other channels must go on
            logger.opt(exception=error).error(
                "Channel {} can't say whose {} is", self.channel.name, envelope.name
            )
            return False

    def _fits(self, envelope: Envelope, viewer: Viewer | None) -> bool:
        channel = self.channel
        if not any(matches(pattern, envelope.name) for pattern in channel.events):
            return False
        if channel.access is Access.OWN:
            owner = channel.owner(envelope) if channel.owner else None
            if viewer is None or owner is None or owner != viewer.user_id:
                return False
        if self.topic is None:
            return True
        return channel.topic is not None and channel.topic(envelope) == self.topic


class ChannelCatalog:
    """The channels modules contribute."""

    def __init__(
        self, registry: Registry, container: AsyncContainer, settings: LiveSettings
    ) -> None:
        """Collect them.

        Raises:
            ConfigurationError: two have one name.
        """
        self._container = container
        self._most = settings.live_channels_per_client
        self.channels: dict[str, Channel] = {}
        for channel in registry.contributions(Channel):
            if self.channels.setdefault(channel.name, channel) is not channel:
                message = f"Two modules contribute a channel {channel.name!r}: rename one of them"
                raise ConfigurationError(message)

    async def select(
        self, names: Sequence[str], viewer: Viewer | None, *, besides: int = 0
    ) -> list[Selection]:
        """Return what a client asks for, each once.

        Args:
            names: such as `orders` or `orders:42`.
            viewer: who is asking, None: nobody known.
            besides: how many it follows already.

        Raises:
            BadRequestError: it asks for nothing.
            TooManyChannelsError: it asks for too many.
            UnknownChannelError: there is no such channel, or it has no topics.
            UnauthorizedError: the channel is for users only.
            ChannelForbiddenError: the channel is not for this one.
        """
        wanted = list(dict.fromkeys(names))
        if not wanted:
            message = f"Name channels, such as {next(iter(self.channels), 'orders')}."
            raise BadRequestError(message)
        if besides + len(wanted) > self._most:
            message = f"One client may follow {self._most} channels."
            raise TooManyChannelsError(message)
        return [await self._selected(name, viewer) for name in wanted]

    async def _selected(self, wanted: str, viewer: Viewer | None) -> Selection:
        name, colon, topic = wanted.partition(":")
        channel = self.channels.get(name)
        if channel is None or (colon and (channel.topic is None or not TOPIC.fullmatch(topic))):
            message = f"There is no channel {wanted[:200]!r}."
            raise UnknownChannelError(message)
        if channel.access is not Access.PUBLIC and viewer is None:
            raise refused()
        selection = Selection(channel, topic if colon else None)
        if channel.may and not await channel.may(self._container, viewer, selection.topic):
            message = f"You may not follow {selection}."
            raise ChannelForbiddenError(message)
        return selection
