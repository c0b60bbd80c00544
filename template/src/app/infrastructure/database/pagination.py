"""Pages: by number for people, by cursor for programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

ItemT = TypeVar("ItemT")
OtherT = TypeVar("OtherT")

MAX_SIZE = 100
"""Items a page may hold; bounds the memory of an answer."""
MAX_PAGE = 10_000
"""OFFSET reads and drops all rows before it; beyond this use a cursor."""

Sort = Annotated[
    str | None,
    Field(
        max_length=200,
        description="Field names separated by commas; a leading `-` sorts downwards.",
        examples=["-created_at"],
    ),
]


class PageParams(BaseModel):
    """Which page of a list."""

    model_config = ConfigDict(extra="forbid")

    page: int = Field(default=1, ge=1, le=MAX_PAGE, description="Page number, from 1.")
    size: int = Field(default=20, ge=1, le=MAX_SIZE, description="Items on a page.")
    sort: Sort = None


class CursorParams(BaseModel):
    """Which stretch of a list."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = Field(
        default=None,
        max_length=2000,
        description="`next_cursor` or `previous_cursor` of an answer.",
    )
    size: int = Field(default=20, ge=1, le=MAX_SIZE, description="Items in one answer.")
    sort: Sort = None


class Page(BaseModel, Generic[ItemT]):
    """One page of a list, and how many there are."""

    items: list[ItemT]
    page: int
    size: int
    total: int
    """Items on all pages together."""

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return -(-self.total // self.size)

    def map(self, convert: Callable[[ItemT], OtherT]) -> Page[OtherT]:
        """Return the page with each item converted."""
        items = [convert(item) for item in self.items]
        return Page(items=items, page=self.page, size=self.size, total=self.total)

    model_config = ConfigDict(arbitrary_types_allowed=True)


class CursorPage(BaseModel, Generic[ItemT]):
    """One stretch of a list. Stays right while rows are added and removed."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    items: list[ItemT]
    next_cursor: str | None = None
    """Continues after the last item; None at the end."""
    previous_cursor: str | None = None
    """Goes back before the first item; None at the start."""

    def map(self, convert: Callable[[ItemT], OtherT]) -> CursorPage[OtherT]:
        """Return the page with each item converted."""
        return CursorPage(
            items=[convert(item) for item in self.items],
            next_cursor=self.next_cursor,
            previous_cursor=self.previous_cursor,
        )
