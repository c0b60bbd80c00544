"""Users over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from httpx2 import AsyncClient, Response

from tests.modules.users.conftest import PASSWORD, MakeUser

ADA = {"name": "Ada Lovelace", "email": "ada@example.com", "password": PASSWORD}


def problem(answer: Response, status: int, kind: str) -> dict[str, Any]:
    document: dict[str, Any] = answer.json()
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert document["type"].endswith(f"/{kind}")
    return document


async def test_a_created_user_can_be_read_at_its_location(client: AsyncClient) -> None:
    created = await client.post("/users", json=ADA)

    assert created.status_code == 201
    read = await client.get(created.headers["location"])
    assert read.json() == created.json()
    assert read.headers["etag"] == created.headers["etag"] == '"1"'


async def test_no_answer_holds_the_password_or_its_hash(client: AsyncClient) -> None:
    created = await client.post("/users", json=ADA)
    listed = await client.get("/users")

    for answer in (created, listed):
        assert PASSWORD not in answer.text
        assert "argon2" not in answer.text
        assert "password" not in answer.text


async def test_the_address_is_kept_in_lower_case(client: AsyncClient) -> None:
    answer = await client.post("/users", json=ADA | {"email": "Ada@Example.com"})

    assert answer.json()["email"] == "ada@example.com"


async def test_an_address_belongs_to_one_user_in_any_case(
    client: AsyncClient, make_user: MakeUser
) -> None:
    await make_user(email="ada@example.com")

    answer = await client.post("/users", json=ADA | {"email": "ADA@example.com"})

    problem(answer, 409, "email-taken")
    assert (await client.get("/users")).json()["total"] == 1


async def test_the_address_of_a_deleted_user_may_be_used_again(
    client: AsyncClient, make_user: MakeUser
) -> None:
    gone = await make_user(email="ada@example.com")
    await client.delete(f"/users/{gone['id']}")

    again = await make_user(email="ada@example.com")

    assert again["id"] != gone["id"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"email": "nonsense"}, "/email"),
        ({"email": None}, "/email"),
        ({"name": "   "}, "/name"),
        ({"name": "two\nlines"}, "/name"),
        ({"name": "x" * 201}, "/name"),
        ({"password": "short"}, "/password"),
        ({"password": "x" * 129}, "/password"),
        ({"role": "admin"}, "/role"),
    ],
)
async def test_a_bad_value_is_refused_with_its_place(
    client: AsyncClient, change: dict[str, Any], pointer: str
) -> None:
    document = problem(await client.post("/users", json=ADA | change), 422, "invalid-request")

    assert [error["pointer"] for error in document["errors"]] == [pointer]
    assert PASSWORD not in str(document)


async def test_a_patch_changes_what_it_holds_and_nothing_else(
    client: AsyncClient, make_user: MakeUser
) -> None:
    user = await make_user()

    changed = (await client.patch(f"/users/{user['id']}", json={"name": "Ada King"})).json()

    assert changed["name"] == "Ada King"
    assert changed["email"] == user["email"]
    assert changed["version"] == user["version"] + 1
    assert changed["updated_at"] > user["updated_at"]
    assert changed["created_at"] == user["created_at"]


async def test_a_patch_can_not_empty_a_field(client: AsyncClient, make_user: MakeUser) -> None:
    user = await make_user()

    problem(await client.patch(f"/users/{user['id']}", json={"name": None}), 422, "invalid-request")


async def test_a_patch_can_not_take_anothers_address(
    client: AsyncClient, make_user: MakeUser
) -> None:
    await make_user("Grace Hopper", "grace@example.com")
    ada = await make_user()

    answer = await client.patch(f"/users/{ada['id']}", json={"email": "grace@example.com"})

    problem(answer, 409, "email-taken")
    assert (await client.get(f"/users/{ada['id']}")).json() == ada


async def test_a_change_based_on_an_outdated_version_is_refused(
    client: AsyncClient, make_user: MakeUser
) -> None:
    url = f"/users/{(await make_user())['id']}"
    await client.patch(url, json={"name": "Ada King"}, headers={"If-Match": '"1"'})

    change = await client.patch(url, json={"name": "Augusta"}, headers={"If-Match": '"1"'})
    deletion = await client.delete(url, headers={"If-Match": '"1"'})

    problem(change, 412, "precondition-failed")
    problem(deletion, 412, "precondition-failed")
    assert (await client.get(url)).json()["name"] == "Ada King"


@pytest.mark.parametrize("tag", ["1", '"one"', 'W/"1"', '"1", "2"', '"99999999999999999999"'])
async def test_a_tag_that_is_not_ours_is_refused(
    client: AsyncClient, make_user: MakeUser, tag: str
) -> None:
    url = f"/users/{(await make_user())['id']}"

    answer = await client.patch(url, json={"name": "Ada"}, headers={"If-Match": tag})

    problem(answer, 400, "bad-request")


async def test_any_version_matches_a_star(client: AsyncClient, make_user: MakeUser) -> None:
    url = f"/users/{(await make_user())['id']}"

    answer = await client.delete(url, headers={"If-Match": "*"})

    assert answer.status_code == 204


async def test_a_deleted_user_is_gone_everywhere(client: AsyncClient, make_user: MakeUser) -> None:
    url = f"/users/{(await make_user())['id']}"

    assert (await client.delete(url)).status_code == 204

    for again in (await client.get(url), await client.delete(url)):
        problem(again, 404, "not-found")
    assert (await client.patch(url, json={"name": "Ada"})).status_code == 404
    assert (await client.get("/users")).json()["items"] == []


async def test_an_unknown_user_is_a_404(client: AsyncClient) -> None:
    problem(await client.get(f"/users/{uuid4()}"), 404, "not-found")


async def test_the_list_is_paged_and_counted(client: AsyncClient, make_user: MakeUser) -> None:
    for name in ("Ada", "Grace", "Katherine"):
        await make_user(name)

    first = (await client.get("/users", params={"size": 2, "sort": "name"})).json()
    second = (await client.get("/users", params={"size": 2, "sort": "name", "page": 2})).json()

    assert [user["name"] for user in first["items"]] == ["Ada", "Grace"]
    assert [user["name"] for user in second["items"]] == ["Katherine"]
    assert first["total"] == second["total"] == 3


async def test_the_newest_come_first_by_default(client: AsyncClient, make_user: MakeUser) -> None:
    for name in ("Ada", "Grace"):
        await make_user(name)

    assert [u["name"] for u in (await client.get("/users")).json()["items"]] == ["Grace", "Ada"]


async def test_filters_narrow_the_list(client: AsyncClient, make_user: MakeUser) -> None:
    ada, grace = await make_user("Ada"), await make_user("Grace")
    await client.patch(f"/users/{grace['id']}", json={"is_active": False})

    async def names(**filters: str) -> list[str]:
        answer = await client.get("/users", params=filters)
        assert answer.status_code == 200, answer.text
        return [user["name"] for user in answer.json()["items"]]

    assert await names(email="ADA@example.com") == ["Ada"]
    assert await names(name_contains="RAC") == ["Grace"]
    assert await names(name_contains="%") == []
    assert await names(is_active="false") == ["Grace"]
    assert await names(created_before=ada["created_at"]) == []
    assert await names(created_from=grace["created_at"]) == ["Grace"]


@pytest.mark.parametrize(
    "query", ["sort=password_hash", "sort=name,name", "sort=-", "size=101", "page=0", "colour=red"]
)
async def test_what_is_not_allowed_in_a_query_is_refused(client: AsyncClient, query: str) -> None:
    answer = await client.get(f"/users?{query}")

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_cursor_walks_the_whole_list_and_back(
    client: AsyncClient, make_user: MakeUser
) -> None:
    names = [f"User {letter}" for letter in "abcde"]
    for number, name in enumerate(names):
        await make_user(name, f"u{number}@example.com")

    seen, cursor, pages = [], None, []
    while True:
        params = {"size": "2", "sort": "name"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/users/stream", params=params)).json()
        pages.append(page)
        seen += [user["name"] for user in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    back = {"size": "2", "sort": "name", "cursor": pages[2]["previous_cursor"]}

    assert seen == names
    assert pages[0]["previous_cursor"] is None
    assert (await client.get("/users/stream", params=back)).json()["items"] == pages[1]["items"]


async def test_a_row_added_meanwhile_does_not_shift_the_next_page(
    client: AsyncClient, make_user: MakeUser
) -> None:
    for name in ("B", "C", "D"):
        await make_user(name)
    params = {"size": "2", "sort": "name"}
    page = (await client.get("/users/stream", params=params)).json()

    await make_user("A")
    rest = await client.get("/users/stream", params=params | {"cursor": page["next_cursor"]})

    assert [user["name"] for user in rest.json()["items"]] == ["D"]


@pytest.mark.parametrize("cursor", ["x", "!!", "e30", "eyJvcmRlciI6ICIiLCAia2V5IjogW119"])
async def test_a_damaged_cursor_is_refused(client: AsyncClient, cursor: str) -> None:
    answer = await client.get("/users/stream", params={"cursor": cursor})

    problem(answer, 422, "unprocessable")


async def test_a_cursor_of_another_order_is_refused(
    client: AsyncClient, make_user: MakeUser
) -> None:
    await make_user("A")
    await make_user("B")
    page = (await client.get("/users/stream", params={"size": 1, "sort": "name"})).json()

    answer = await client.get(
        "/users/stream", params={"sort": "email", "cursor": page["next_cursor"]}
    )

    assert "keep `sort`" in problem(answer, 422, "unprocessable")["detail"]


@pytest.mark.usefixtures("real_commits")
async def test_registrations_at_the_same_time_leave_one(client: AsyncClient) -> None:
    """Whoever comes second gets the conflict, not a server error."""
    answers = await asyncio.gather(*(client.post("/users", json=ADA) for _ in range(3)))

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    assert (await client.get("/users")).json()["total"] == 1


async def test_a_user_one_has_is_not_sent_again(client: AsyncClient) -> None:
    """RFC 9110 §13.1.2: 304 without a body while the tag is the user's, 200 after a change."""
    created = await client.post("/users", json=ADA)
    url, tag = created.headers["location"], created.headers["etag"]

    same = await client.get(url, headers={"If-None-Match": f'"0", W/{tag}'})
    await client.patch(url, json={"name": "Ada King"})
    changed = await client.get(url, headers={"If-None-Match": tag})

    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert (changed.status_code, changed.json()["name"]) == (200, "Ada King")
