"""The database: models, units of work, repositories, migrations, seeds."""

from app.infrastructure.database.base import Base, Entity, SoftDelete, UtcDateTime, Versioned
from app.infrastructure.database.database import Database
from app.infrastructure.database.errors import (
    DuplicateError,
    ReadOnlyError,
    ReferenceViolationError,
    StaleVersionError,
    TransientDatabaseError,
)
from app.infrastructure.database.filters import (
    Filter,
    at_least,
    before,
    contains,
    equals,
    one_of,
)
from app.infrastructure.database.pagination import CursorPage, CursorParams, Page, PageParams
from app.infrastructure.database.repository import Repository
from app.infrastructure.database.retry import transaction_with_retry
from app.infrastructure.database.seeds import Seed
from app.infrastructure.database.session import (
    after_commit,
    after_rollback,
    current_session,
    read_only,
    transaction,
)

__all__ = [
    "Base",
    "CursorPage",
    "CursorParams",
    "Database",
    "DuplicateError",
    "Entity",
    "Filter",
    "Page",
    "PageParams",
    "ReadOnlyError",
    "ReferenceViolationError",
    "Repository",
    "Seed",
    "SoftDelete",
    "StaleVersionError",
    "TransientDatabaseError",
    "UtcDateTime",
    "Versioned",
    "after_commit",
    "after_rollback",
    "at_least",
    "before",
    "contains",
    "current_session",
    "equals",
    "one_of",
    "read_only",
    "transaction",
    "transaction_with_retry",
]
