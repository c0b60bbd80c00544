"""The generic repository: what nearly every table needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from app.core.errors import NotFoundError, UnprocessableError
from app.infrastructure.database.base import Entity, SoftDelete, utc_now
from app.infrastructure.database.filters import Filter
from app.infrastructure.database.ordering import (
    OrderTerm,
    after,
    cursor_at,
    decode_cursor,
    parse_order,
)
from app.infrastructure.database.pagination import CursorPage, CursorParams, Page, PageParams
from app.infrastructure.database.session import raise_translated

ModelT = TypeVar("ModelT", bound=Entity)


class Repository(Generic[ModelT]):
    """Rows of one model. Subclass it and name the model and what clients may filter and sort by.

    Rows that are softly deleted do not exist for any method. Nothing here commits.
    """

    model: type[ModelT]
    filters: ClassVar[Mapping[str, Filter]] = {}
    """What may be filtered by: a name, and how its value becomes a condition."""
    sortable: ClassVar[tuple[str, ...]] = ("created_at",)
    """Columns that may be sorted by. They must not be nullable: NULL has no place in an order."""
    default_sort: ClassVar[str] = "-created_at"

    def __init__(self, session: AsyncSession) -> None:
        """Work in the unit of work of `session`."""
        self.session = session

    async def get(self, identifier: UUID) -> ModelT:
        """Return one row.

        Raises:
            NotFoundError: there is none, or it is deleted.
        """
        row = await self.find(identifier)
        if row is None:
            message = f"There is no {self.model.__name__.lower()} with the id {identifier}."
            raise NotFoundError(message)
        return row

    async def find(self, identifier: UUID) -> ModelT | None:
        """Return one row, or None."""
        return await self.first(self.model.id == identifier)

    async def first(self, *conditions: Any) -> ModelT | None:
        """Return the first row that meets all conditions, or None."""
        result = await self.session.scalars(self.select().where(*conditions).limit(1))
        return result.first()

    async def count(self, **filters: Any) -> int:
        """Count the rows that match."""
        counted = select(func.count()).select_from(self._filtered(filters).subquery())
        return await self.session.scalar(counted) or 0

    async def add(self, row: ModelT) -> ModelT:
        """Insert a row, now: a conflict shows here and not at the commit.

        Raises:
            DuplicateError: a unique value is taken.
        """
        self.session.add(row)
        await self.flush()
        return row

    async def update(self, row: ModelT, **values: Any) -> ModelT:
        """Set columns of a row, now.

        Raises:
            DuplicateError: a unique value is taken.
            StaleVersionError: a `Versioned` row has changed since it was read.
        """
        for name, value in values.items():
            setattr(row, name, value)
        await self.flush()
        return row

    async def delete(self, row: ModelT) -> None:
        """Delete a row; a `SoftDelete` model is marked instead.

        Raises:
            ReferenceViolationError: other rows refer to it.
            StaleVersionError: a `Versioned` row has changed since it was read.
        """
        if isinstance(row, SoftDelete):
            row.deleted_at = utc_now()
        else:
            await self.session.delete(row)
        await self.flush()

    async def flush(self) -> None:
        """Send pending changes to the database.

        Raises:
            AppError: the service's error for what went wrong.
        """
        try:
            await self.session.flush()
        except Exception as error:  # noqa: BLE001 - translated or raised again as it is
            raise_translated(error)

    async def page(self, params: PageParams, **filters: Any) -> Page[ModelT]:
        """Return one page by number, with the total.

        Raises:
            UnprocessableError: a filter or sort field that is not allowed; names those that are.
        """
        matching = self._filtered(filters)
        terms = self._order(params.sort)
        rows = await self.session.scalars(
            matching.order_by(*(term.by() for term in terms))
            .limit(params.size)
            .offset((params.page - 1) * params.size)
        )
        total = await self.session.scalar(select(func.count()).select_from(matching.subquery()))
        return Page(items=list(rows), page=params.page, size=params.size, total=total or 0)

    async def cursor_page(self, params: CursorParams, **filters: Any) -> CursorPage[ModelT]:
        """Return one stretch from a cursor on, by keyset: as fast at the end as at the start.

        Raises:
            UnprocessableError: a damaged cursor, or a filter or sort field that is not allowed.
        """
        matching = self._filtered(filters)
        terms = self._order(params.sort)
        backwards = False
        if params.cursor:
            key, backwards = decode_cursor(params.cursor, terms)
            matching = matching.where(after(key, terms, backwards=backwards))
        ordered = matching.order_by(*(term.by(backwards=backwards) for term in terms))
        rows = list(await self.session.scalars(ordered.limit(params.size + 1)))
        more = len(rows) > params.size
        rows = rows[: params.size]
        if backwards:
            rows.reverse()
        has_next = bool(rows) and (more or backwards)
        has_previous = bool(rows) and (more if backwards else params.cursor is not None)
        return CursorPage(
            items=rows,
            next_cursor=cursor_at(rows[-1], terms, backwards=False) if has_next else None,
            previous_cursor=cursor_at(rows[0], terms, backwards=True) if has_previous else None,
        )

    def select(self) -> Select[ModelT]:
        """Return the query for all rows that are not deleted; start queries of your own from it."""
        statement = select(self.model)
        if issubclass(self.model, SoftDelete):
            statement = statement.where(self.model.deleted_at.is_(None))
        return statement

    def _filtered(self, filters: Mapping[str, Any]) -> Select[ModelT]:
        unknown = sorted(set(filters) - set(self.filters))
        if unknown:
            choices = ", ".join(sorted(self.filters)) or "nothing"
            message = f"Can't filter by {', '.join(unknown)}: allowed is {choices}."
            raise UnprocessableError(message)
        conditions = [
            self.filters[name](value) for name, value in filters.items() if value is not None
        ]
        return self.select().where(*conditions)

    def _order(self, sort: str | None) -> tuple[OrderTerm, ...]:
        columns: dict[str, InstrumentedAttribute[Any]] = {
            name: getattr(self.model, name) for name in self.sortable
        }
        return parse_order(sort or self.default_sort, columns, self.model.id)
