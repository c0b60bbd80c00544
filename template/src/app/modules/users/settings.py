"""Settings of the users module."""

from __future__ import annotations

from pydantic import Field

from app.core.settings import Count, ModuleSettings


class UserSettings(ModuleSettings):
    """How passwords are hashed."""

    password_hash_concurrency: Count = Field(default=2, ge=1)
    """Hashes computed at the same time; each takes about 0.1 s of a core and 64 MiB."""
