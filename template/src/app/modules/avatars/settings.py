"""Settings of the avatars."""

from __future__ import annotations

from pydantic import Field

from app.core.settings import Bytes, Count, ModuleSettings


class AvatarSettings(ModuleSettings):
    """Which pictures are taken, and what becomes of them."""

    avatar_max_size: Bytes = Field(default=5 * 1024 * 1024, ge=1, le=50 * 1024 * 1024)
    """Largest picture somebody may send."""
    avatar_max_pixels: Count = Field(default=25_000_000, ge=1)
    """Pixels it may have, unpacked: each takes 4 bytes of memory, however small the file is."""
    avatar_side: Count = Field(default=512, ge=16, le=4096)
    """Longest side of what is kept, in pixels."""
    thumbnail_side: Count = Field(default=96, ge=8, le=1024)
    """Longest side of the thumbnail, in pixels."""
    avatar_concurrency: Count = Field(default=2, ge=1)
    """Pictures unpacked at the same time in one process."""
