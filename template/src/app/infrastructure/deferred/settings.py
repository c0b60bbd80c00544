"""Settings of deferred calls."""

from __future__ import annotations

from pydantic import SecretStr, field_validator

from app.core.settings import ModuleSettings

SHORTEST_KEY = 32
"""Characters of a key: as many as SHA-256 has bytes (RFC 2104 §3)."""


class DeferredSettings(ModuleSettings):
    """Whom a worker believes."""

    deferred_signing_keys: SecretStr = SecretStr("")
    """Keys that sign deferred calls, separated by commas: the first one signs, each is accepted.
    Empty: calls are not signed."""

    @field_validator("deferred_signing_keys")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if any(len(key) < SHORTEST_KEY for key in _split(value)):
            message = f"each key has at least {SHORTEST_KEY} characters: `openssl rand -hex 32`"
            raise ValueError(message)
        return value

    @property
    def keys(self) -> list[bytes]:
        """The keys."""
        return [key.encode() for key in _split(self.deferred_signing_keys)]


def _split(keys: SecretStr) -> list[str]:
    return [key.strip() for key in keys.get_secret_value().split(",") if key.strip()]
