"""What tables are made from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import DateTime, Dialect, Integer, MetaData, TypeDecorator, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from app.core.ids import new_id

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names for constraints: without them a migration can't drop what it did not name itself."""


class UtcDateTime(TypeDecorator[datetime]):
    """A moment. Aware in Python on every database; stored in UTC.

    SQLite has no time zones and hands back naive values; this puts UTC back on.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC.

        Raises:
            ValueError: a naive datetime, whose moment nobody knows.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            message = f"{value!r} has no time zone: use Clock.now() or datetime.now(UTC)"
            raise ValueError(message)
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


def utc_now() -> datetime:
    """Return the present moment; what column defaults use."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """Base of every model; all tables of the service are in its metadata."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        UUID: Uuid(),
    }


class Entity(Base):
    """A row with an identity and a history.

    The id is a UUIDv7 made here, not by the database: it is known before the insert and sorts by
    time.
    """

    __abstract__ = True

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id, sort_order=-10)
    created_at: Mapped[datetime] = mapped_column(default=utc_now, sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now, sort_order=91)


class SoftDelete:
    """Mixin: deleting marks the row. The repository leaves marked rows out."""

    deleted_at: Mapped[datetime | None] = mapped_column(default=None, sort_order=92)


class Versioned:
    """Mixin: optimistic lock. A change based on an outdated version is refused."""

    version: Mapped[int] = mapped_column(Integer, nullable=False, sort_order=93)

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, Any]:
        """Let SQLAlchemy check and count the version at each update."""
        return {"version_id_col": cls.version}
