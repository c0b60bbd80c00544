"""The tables of the outbox and of the inbox."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.infrastructure.database import Base

LONGEST_KEY = 200
"""Characters of a key."""
LONGEST_KIND = 10


class RowKind(StrEnum):
    """What a row holds."""

    JOB = "job"
    EVENT = "event"


_PENDING = text("published_at IS NULL AND dead_at IS NULL")


class OutboxRow(Base):
    """A job or an event, committed with the rows it belongs to, that is or will be published."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index(
            "ix_outbox_next_at_pending",
            "next_at",
            sqlite_where=_PENDING,
            postgresql_where=_PENDING,
        ),
        Index(
            "ix_outbox_key_pending",
            "key",
            "id",
            sqlite_where=_PENDING,
            postgresql_where=_PENDING,
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """UUIDv7: rows sort as they were written."""
    key: Mapped[str | None] = mapped_column(String(LONGEST_KEY))
    """Rows of one key are published one after the other."""
    job: Mapped[str] = mapped_column(Text)
    """What is published, a job or an event, as JSON."""
    kind: Mapped[str] = mapped_column(String(LONGEST_KIND), server_default=RowKind.JOB)
    created_at: Mapped[datetime]
    next_at: Mapped[datetime]
    """When the relay may take it."""
    attempts: Mapped[int]
    """How often it could not be published though the broker was there."""
    error: Mapped[str | None] = mapped_column(Text)
    """Of the last try."""
    published_at: Mapped[datetime | None] = mapped_column(index=True)
    dead_at: Mapped[datetime | None] = mapped_column(index=True)
    """Given up: it can't be published as it is."""


class InboxRow(Base):
    """Something that was done once, and what came of it."""

    __tablename__ = "inbox"

    key: Mapped[str] = mapped_column(String(2 * LONGEST_KEY), primary_key=True)
    result: Mapped[str | None] = mapped_column(Text)
    """As JSON."""
    created_at: Mapped[datetime] = mapped_column(index=True)
