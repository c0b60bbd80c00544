"""Settings of WebSockets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from app.core.settings import Bytes, Count, ModuleSettings, Weakness
from app.infrastructure.redis.address import Mode, parse_address

ANY_ORIGIN = "*"


class WebSocketSettings(ModuleSettings):
    """Whether and for whom there are WebSockets, and which way events take to them."""

    enable_websockets: bool = True
    """Whether `/ws` answers at all; off: 404."""
    websocket_redis_url: SecretStr = SecretStr("")
    """A Redis of their own over which events reach the WebSockets of all processes, whatever
    `EVENT_BUS_TRANSPORT` is. Empty: the event bus brings them."""
    websocket_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins whose pages may connect, besides the service's own, separated by commas. A browser
    sends cookies along whatever page asks, and CORS does not hold for WebSockets."""
    websocket_max_message: Bytes = Field(default=16_384, ge=256)
    """Largest message a client may send: they are commands, not data."""
    websocket_max_errors: Count = Field(default=10, ge=1)
    """Commands that can't be followed, after which a client is sent away."""

    @field_validator("websocket_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("websocket_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if origin not in {ANY_ORIGIN, f"{parts.scheme}://{parts.netloc}"}:
                message = "each must be like https://shop.example.com: scheme, host, no path"
                raise ValueError(message)
        return value

    @field_validator("websocket_redis_url")
    @classmethod
    def _is_server(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if url and parse_address(url).mode is Mode.EMBEDDED:
            message = "name a server; leave it empty where the service's own Redis will do"
            raise ValueError(message)
        return value

    def weaknesses(self) -> Iterable[Weakness]:
        """Any origin; a server that asks for no password."""
        if ANY_ORIGIN in self.websocket_origins:
            yield Weakness(
                "WEBSOCKET_ORIGINS",
                "pages of every origin may connect with the cookies of whoever looks at them",
                "WEBSOCKET_ORIGINS=https://your-site.example",
            )
        url = self.websocket_redis_url.get_secret_value()
        address = parse_address(url) if url else None
        if address and not address.password and address.mode is not Mode.UNIX:
            yield Weakness(
                "WEBSOCKET_REDIS_URL",
                "anybody who reaches the server may use it",
                "WEBSOCKET_REDIS_URL=rediss://user:password@host:6379/0",
            )
