"""The avatars table."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.infrastructure.database import Base
from app.infrastructure.database.base import utc_now


class Avatar(Base):
    """Which files are the picture of a user."""

    __tablename__ = "avatars"

    user_id: Mapped[UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(String(200))
    """Of the picture; each upload has another one, so a file never changes."""
    thumbnail_key: Mapped[str | None] = mapped_column(String(200))
    """None until it is made."""
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)
