"""The users table."""

from __future__ import annotations

from sqlalchemy import Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from app.infrastructure.database import Entity, SoftDelete, Versioned
from app.modules.users.schemas import EMAIL_LENGTH, NAME_LENGTH

_NOT_DELETED = text("deleted_at IS NULL")


class User(SoftDelete, Versioned, Entity):
    """Somebody who uses the service."""

    __tablename__ = "users"
    __table_args__ = (
        # Among those that exist: the address of a deleted user may be used again.
        Index(
            "uq_users_email",
            "email",
            unique=True,
            sqlite_where=_NOT_DELETED,
            postgresql_where=_NOT_DELETED,
        ),
    )

    email: Mapped[str] = mapped_column(String(EMAIL_LENGTH))
    """In lower case."""
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    password_hash: Mapped[str] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(default=True)
