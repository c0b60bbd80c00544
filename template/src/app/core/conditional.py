"""Conditional requests and caching headers (RFC 9110 §13, RFC 9111 §5.2).

A `GET` through a `ScopedRoute` that answers 200 with an `ETag` or a `Last-Modified` is answered
with 304 and without a body when the client has that already. A route that knows the tag before the
work is done saves the work too:

    conditional.check(ETag.of(report.version))

Who wants to *change* something sends `If-Match`; that is checked where the change is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from hashlib import blake2b
from typing import Annotated, Any, Self

from fastapi import Depends, Request, Response, status
from pydantic_core import to_json

BODY_HEADERS = frozenset(
    {
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-range",
        b"content-type",
        b"transfer-encoding",
    }
)
"""What a 304 does not repeat of the 200: it describes a body (RFC 9110 §15.4.5)."""
TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|\Z)')
SAFE_METHODS = ("GET", "HEAD")
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "It is what the `ETag` in `If-None-Match` says."}
}
"""Documents it: `@router.get(..., responses=NOT_MODIFIED)`."""


@dataclass(frozen=True, slots=True)
class ETag:
    """An entity tag (RFC 9110 §8.8.3)."""

    value: str
    weak: bool = False
    """Equal tags mean equivalent, not byte for byte equal."""

    @classmethod
    def of(cls, value: Any, *, weak: bool = False) -> Self:
        """Return the tag of a version number, or else of a value's JSON or of bytes."""
        if isinstance(value, int):
            return cls(str(value), weak)
        body = value if isinstance(value, bytes) else to_json(value)
        return cls(blake2b(body, digest_size=16).hexdigest(), weak)

    def __str__(self) -> str:
        """Return it as it stands in a header."""
        return f'{"W/" if self.weak else ""}"{self.value}"'

    def matches(self, other: ETag, *, strong: bool = False) -> bool:
        """Compare (§8.8.3.2): weakly for what is read, strongly for what is to be changed."""
        return self.value == other.value and not (strong and (self.weak or other.weak))


@dataclass(frozen=True, slots=True)
class ETags:
    """The tags of an `If-Match` or `If-None-Match`."""

    tags: tuple[ETag, ...]
    any: bool = False
    """It was `*`: whatever there is."""

    @classmethod
    def parse(cls, header: str) -> Self | None:
        """Read a header: `*`, or tags separated by commas; None: it is neither."""
        if header.strip() == "*":
            return cls((), any=True)
        tags: list[ETag] = []
        place = 0
        while place < len(header):
            found = TAG.match(header, place)
            if found is None:
                return None
            tags.append(ETag(found[2], weak=bool(found[1])))
            place = found.end()
        return cls(tuple(tags)) if tags else None

    def match(self, tag: ETag, *, strong: bool = False) -> bool:
        """Tell whether the tag is among them."""
        return self.any or any(own.matches(tag, strong=strong) for own in self.tags)


class NotModified(Exception):  # noqa: N818 - no error: the client has it already
    """Ends a route early with a 304; the unit of work is committed."""

    def __init__(self, answer: Response) -> None:
        """Answer with the headers of this."""
        super().__init__()
        self.answer = answer


class Conditional:
    """The conditions of a request, and the headers of its answer."""

    def __init__(self, request: Request, response: Response) -> None:
        """FastAPI makes it: take it as `FromRequest`."""
        self._request = request
        self._response = response

    def check(self, tag: ETag | None = None, modified: datetime | None = None) -> None:
        """Name the state of what is asked for; go on only if the client does not have it.

        Headers set on the response before it are sent either way.

        Raises:
            NotModified: the client has it; the route ends here.
        """
        headers = self._response.headers
        if tag is not None:
            headers["ETag"] = str(tag)
        if modified is not None:
            headers["Last-Modified"] = format_datetime(modified.astimezone(UTC), usegmt=True)
        if is_current(self._request, headers.get("etag"), headers.get("last-modified")):
            raise NotModified(self._response)


FromRequest = Annotated[Conditional, Depends()]
"""`async def get_report(conditional: FromRequest) -> Report`."""


def is_current(request: Request, tag: str | None, modified: str | None) -> bool:
    """Tell whether a client's condition says that it has this (RFC 9110 §13.2.2).

    `If-Modified-Since` counts only where there is no `If-None-Match`. What can't be read is no
    condition.
    """
    if request.method not in SAFE_METHODS:
        return False
    # A list may be spread over several header fields (§5.3).
    wanted = ", ".join(request.headers.getlist("if-none-match"))
    if wanted:
        known, own = ETags.parse(wanted), ETags.parse(tag or "")
        if known is None:
            return False
        return known.any or bool(own and own.tags and known.match(own.tags[0]))
    since, last = _date(request.headers.get("if-modified-since")), _date(modified)
    return since is not None and last is not None and last <= since


def is_expected(request: Request, tag: str | None, modified: str | None) -> bool:
    """Tell whether this is what a client's `If-Match` wants (RFC 9110 §13.1.1, §13.1.4).

    `If-Unmodified-Since` counts only where there is none of those, and if it can be read.
    """
    wanted = ", ".join(request.headers.getlist("if-match"))
    if wanted:
        known, own = ETags.parse(wanted), ETags.parse(tag or "")
        if known is None:
            return False
        return known.any or bool(own and own.tags and known.match(own.tags[0], strong=True))
    before, last = _date(request.headers.get("if-unmodified-since")), _date(modified)
    return before is None or last is None or last <= before


def _date(header: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(header or "")
    except (ValueError, TypeError, OverflowError):  # the last one: numbers of twenty digits
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def revalidated(request: Request, response: Response) -> Response:
    """Return the answer, or a 304 without a body where the client has that answer already."""
    if response.status_code != status.HTTP_200_OK or not (
        "if-none-match" in request.headers or "if-modified-since" in request.headers
    ):
        return response
    headers = response.headers
    if not is_current(request, headers.get("etag"), headers.get("last-modified")):
        return response
    return not_modified(response)


def not_modified(response: Response) -> Response:
    """Return the 304 that stands for an answer."""
    answer = Response(status_code=status.HTTP_304_NOT_MODIFIED, background=response.background)
    answer.raw_headers = [
        (name, value) for name, value in response.raw_headers if name.lower() not in BODY_HEADERS
    ]
    return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheControl:
    """Who may keep an answer, and for how long (RFC 9111 §5.2.2, RFC 5861). Times in seconds."""

    public: bool = False
    """Also shared caches, though the request was authorized."""
    private: bool = False
    """The client's own cache only."""
    no_cache: bool = False
    """Ask each time whether it is still so."""
    no_store: bool = False
    """Nobody."""
    must_revalidate: bool = False
    """Never use it when it is old, not even when we are away."""
    immutable: bool = False
    """It never changes (RFC 8246)."""
    max_age: int | None = None
    s_maxage: int | None = None
    """`max_age` of shared caches."""
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ValueError: public and private, kept and not kept, or a time below 0.
        """
        values = [getattr(self, field.name) for field in fields(self)]
        times = [value for value in values if value is not None and not isinstance(value, bool)]
        if self.public and self.private:
            message = "an answer is public or private"
        elif self.no_store and (self.public or self.private or times):
            message = "no_store stands alone"
        elif any(seconds < 0 for seconds in times):
            message = "times of Cache-Control are 0 or more"
        else:
            return
        raise ValueError(message)

    def __str__(self) -> str:
        """Return the header's value."""
        said = []
        for field in fields(self):
            value, name = getattr(self, field.name), field.name.replace("_", "-")
            if value is True:
                said.append(name)
            elif value is not None and value is not False:
                said.append(f"{name}={value}")
        return ", ".join(said)


def caching(control: CacheControl, vary: Sequence[str] = ()) -> Callable[[Response], None]:
    """Return a dependency that sets the headers: `dependencies=[Depends(caching(...))]`.

    Args:
        control: who may keep the answers.
        vary: the request headers they depend on (RFC 9110 §12.5.5).
    """
    value, fields_ = str(control), ", ".join(vary)

    def headers(response: Response) -> None:
        response.headers["Cache-Control"] = value
        if fields_:
            response.headers["Vary"] = fields_

    return headers
