"""Conditional requests (RFC 9110 §13) and caching headers (RFC 9111)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from dishka import Provider, make_async_container
from fastapi import APIRouter, Depends, FastAPI, Response
from httpx2 import ASGITransport, AsyncClient

from app.core.conditional import CacheControl, ETag, ETags, FromRequest, caching
from app.core.routing import ScopedRoute

MODIFIED = datetime(2026, 11, 21, 12, 0, 0, 999, tzinfo=UTC)
SAID = "Sat, 21 Nov 2026 12:00:00 GMT"
router = APIRouter(route_class=ScopedRoute)
WORK: list[str] = []


@router.api_route(
    "/tagged",
    methods=["GET", "HEAD", "POST"],
    dependencies=[Depends(caching(CacheControl(private=True, max_age=60), ["Accept-Language"]))],
)
async def tagged(response: Response) -> dict[str, int]:
    response.headers["ETag"] = str(ETag.of(3))
    response.headers["X-Limit"] = "7"
    response.headers["Content-Language"] = "en"
    response.set_cookie("seen", "1")
    return {"n": 3}


@router.get("/early")
async def early(conditional: FromRequest, response: Response) -> list[str]:
    response.headers["Cache-Control"] = "no-cache"
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    conditional.check(ETag.of(3, weak=True), MODIFIED)
    WORK.append("done")
    return WORK


@router.get("/untagged")
async def untagged() -> int:
    return 1


@router.get("/created", status_code=201)
async def created(response: Response) -> int:
    response.headers["ETag"] = '"3"'
    return 1


@pytest.fixture
async def http() -> AsyncIterator[AsyncClient]:
    WORK.clear()
    app = FastAPI()
    app.include_router(router)
    app.state.dishka_container = make_async_container(Provider())
    transport = ASGITransport(app=app)
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ('"3"', 304),
        ('W/"3"', 304),  # weak comparison
        ('"1", "3"', 304),
        ('"1",W/"3" , "4"', 304),
        ("*", 304),
        (' "3" ', 304),
        ('"2"', 200),
        ('"33"', 200),
        ("3", 200),
        ('"3', 200),
        ('w/"3"', 200),
        ('"3" "4"', 200),
        ('"1", *', 200),
        ("", 200),
    ],
)
async def test_if_none_match(http: AsyncClient, header: str, status: int) -> None:
    """What can't be read is no condition."""
    answer = await http.get("/tagged", headers={"If-None-Match": header})
    assert answer.status_code == status
    assert answer.content == (b"" if status == 304 else b'{"n":3}')


async def test_a_304_has_the_headers_of_the_200_but_those_of_its_body(http: AsyncClient) -> None:
    answer = await http.get("/tagged", headers={"If-None-Match": '"3"'})

    assert answer.headers["etag"] == '"3"'
    assert answer.headers["cache-control"] == "private, max-age=60"
    assert answer.headers["vary"] == "Accept-Language"
    assert answer.headers["x-limit"] == "7"
    assert "seen=1" in answer.headers["set-cookie"]
    assert not {"content-type", "content-length", "content-language"} & set(answer.headers)


async def test_tags_in_several_header_fields_are_one_list(http: AsyncClient) -> None:
    headers = [("If-None-Match", '"1"'), ("If-None-Match", '"3"')]
    assert (await http.get("/tagged", headers=headers)).status_code == 304


async def test_head_is_as_get_and_what_changes_is_not(http: AsyncClient) -> None:
    condition = {"If-None-Match": '"3"'}
    assert (await http.head("/tagged", headers=condition)).status_code == 304
    assert (await http.post("/tagged", headers=condition)).status_code == 200


async def test_only_an_ok_can_be_unchanged(http: AsyncClient) -> None:
    assert (await http.get("/created", headers={"If-None-Match": '"3"'})).status_code == 201
    assert (await http.get("/untagged", headers={"If-None-Match": '"3"'})).status_code == 200
    assert (await http.get("/untagged", headers={"If-Modified-Since": SAID})).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"If-None-Match": '"3"'}, 304),
        ({"If-Modified-Since": SAID}, 304),
        ({"If-Modified-Since": "Sat, 21 Nov 2026 12:00:01 GMT"}, 304),
        ({"If-Modified-Since": "Sat, 21 Nov 2026 11:59:59 GMT"}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Modified-Since": f"Sat, 21 Nov {'9' * 20} 12:00:00 GMT"}, 200),
        ({"If-Modified-Since": f"Sat, 21 Nov 2026 12:00:00 +{'9' * 20}"}, 200),
        ({"If-Modified-Since": SAID, "If-None-Match": '"2"'}, 200),
    ],
)
async def test_an_early_check_saves_the_work(
    http: AsyncClient, headers: dict[str, str], status: int
) -> None:
    """`If-Modified-Since` counts only where there is no `If-None-Match`."""
    answer = await http.get("/early", headers=headers)

    assert answer.status_code == status
    assert ([] if status == 304 else ["done"]) == WORK
    assert answer.headers["etag"] == 'W/"3"'
    assert answer.headers["last-modified"] == SAID
    assert answer.headers["cache-control"] == "no-cache"
    assert dict(answer.cookies) == {"one": "1", "two": "2"}


@pytest.mark.parametrize(
    ("one", "other", "weakly", "strongly"),
    [
        (ETag("1"), ETag("1"), True, True),
        (ETag("1", weak=True), ETag("1"), True, False),
        (ETag("1", weak=True), ETag("1", weak=True), True, False),
        (ETag("1"), ETag("2"), False, False),
    ],
)
def test_tags_are_compared_as_the_rfc_says(
    one: ETag, other: ETag, *, weakly: bool, strongly: bool
) -> None:
    """RFC 9110, the table in §8.8.3.2."""
    assert one.matches(other) is weakly
    assert one.matches(other, strong=True) is strongly
    assert ETags((one,)).match(other, strong=True) is strongly


def test_a_tag_is_that_of_its_content() -> None:
    assert str(ETag.of(3)) == '"3"'
    assert ETag.of({"a": 1}) == ETag.of({"a": 1}) != ETag.of({"a": 2})
    assert ETag.of(b"x") == ETag.of(b"x") != ETag.of(b"y")
    assert str(ETag.of(b"x", weak=True)).startswith('W/"')


@pytest.mark.parametrize(
    ("control", "said"),
    [
        (CacheControl(no_store=True), "no-store"),
        (CacheControl(public=True, max_age=0), "public, max-age=0"),
        (
            CacheControl(public=True, s_maxage=60, stale_while_revalidate=30, stale_if_error=600),
            "public, s-maxage=60, stale-while-revalidate=30, stale-if-error=600",
        ),
        (
            CacheControl(private=True, no_cache=True, must_revalidate=True, immutable=True),
            "private, no-cache, must-revalidate, immutable",
        ),
    ],
)
def test_cache_control_is_said(control: CacheControl, said: str) -> None:
    assert str(control) == said


@pytest.mark.parametrize(
    "changes",
    [
        {"public": True, "private": True},
        {"no_store": True, "max_age": 5},
        {"no_store": True, "public": True},
        {"max_age": -1},
        {"stale_if_error": -1},
    ],
)
def test_cache_control_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"public or private|stands alone|0 or more"):
        CacheControl(**changes)
