"""Channels of live events: what SSE and WebSockets share."""

from app.infrastructure.live.channels import ChannelCatalog, Selection
from app.infrastructure.live.client import CredentialsExpiredError, LiveClient
from app.infrastructure.live.clients import Clients
from app.infrastructure.live.errors import (
    ChannelForbiddenError,
    TooManyChannelsError,
    TooManyClientsError,
    UnknownChannelError,
)
from app.infrastructure.live.identity import Identity, credentials_of
from app.infrastructure.live.ports import Access, Authenticator, Channel, Credentials, Viewer

__all__ = [
    "Access",
    "Authenticator",
    "Channel",
    "ChannelCatalog",
    "ChannelForbiddenError",
    "Clients",
    "Credentials",
    "CredentialsExpiredError",
    "Identity",
    "LiveClient",
    "Selection",
    "TooManyChannelsError",
    "TooManyClientsError",
    "UnknownChannelError",
    "Viewer",
    "credentials_of",
]
