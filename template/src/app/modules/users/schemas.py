"""What clients send and get."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    EmailStr,
    Field,
    JsonValue,
    SecretStr,
    StringConstraints,
)

from app.core.errors import BadRequestError
from app.infrastructure.database import CursorParams, PageParams

EMAIL_LENGTH = 254
"""Characters; the longest address SMTP can carry (RFC 5321 §4.5.3.1.3)."""
NAME_LENGTH = 200
"""Characters."""
ETAG = re.compile(r'"([0-9]{1,18})"')


def _no_control_characters(text: str) -> str:
    if not text.isprintable():
        message = "must not contain control characters"
        raise ValueError(message)
    return text


# Addresses that differ in case only reach one mailbox nearly everywhere: they are one user.
Email = Annotated[EmailStr, AfterValidator(str.lower), Field(max_length=EMAIL_LENGTH)]
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=NAME_LENGTH),
    AfterValidator(_no_control_characters),
]
# Length is what counts, composition rules are not asked for (NIST SP 800-63B §3.1.1.2).
Password = Annotated[SecretStr, Field(min_length=12, max_length=128)]

EXAMPLE: dict[str, JsonValue] = {"email": "ada@example.com", "name": "Ada Lovelace"}


class UserCreate(BaseModel):
    """A new user."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [EXAMPLE | {"password": "correct horse battery"}]},
    )

    email: Email
    name: Name
    password: Password


class UserPatch(BaseModel):
    """Changes to a user; what is left out stays as it is."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "Ada King"}]}
    )

    # The defaults are never read (only fields that were sent count); they keep the fields optional
    # without making them nullable, since no field of a user can be emptied.
    email: Email = Field(default_factory=str)
    name: Name = Field(default_factory=str)
    password: Password = Field(default_factory=lambda: SecretStr(""))
    is_active: bool = Field(default_factory=bool)


class UserRead(BaseModel):
    """A user as clients see it; the password never leaves."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str = Field(examples=["ada@example.com"])
    name: str = Field(examples=["Ada Lovelace"])
    is_active: bool
    version: int = Field(description="Grows with each change; also the `ETag`.", examples=[1])
    created_at: datetime
    updated_at: datetime


class UserFilters(BaseModel):
    """Which users to list; what is left out does not matter."""

    model_config = ConfigDict(extra="forbid")

    email: Email | None = None
    name_contains: str | None = Field(default=None, max_length=NAME_LENGTH)
    is_active: bool | None = None
    created_from: AwareDatetime | None = None
    created_before: AwareDatetime | None = None

    def filters(self) -> UserFilters:
        """Return the filters alone."""
        return UserFilters.model_validate(self.model_dump(include=set(UserFilters.model_fields)))


class UserPageQuery(PageParams, UserFilters):
    """Query of the list by page."""

    def params(self) -> PageParams:
        """Return which page."""
        return PageParams.model_validate(self.model_dump(include=set(PageParams.model_fields)))


class UserCursorQuery(CursorParams, UserFilters):
    """Query of the list by cursor."""

    def params(self) -> CursorParams:
        """Return which stretch."""
        return CursorParams.model_validate(self.model_dump(include=set(CursorParams.model_fields)))


def parse_etag(if_match: str | None) -> int | None:
    """Return the version an `If-Match` header names (RFC 9110 §13.1.1); None for no condition.

    Raises:
        BadRequestError: not an entity tag of ours.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    match = ETAG.fullmatch(if_match.strip())
    if match is None:
        message = 'If-Match must be one ETag of this resource, such as "3".'
        raise BadRequestError(message)
    return int(match[1])
