"""A request that does not fit is refused with pointers, and without repeating what it held."""

from __future__ import annotations

from typing import Any

import pytest
from httpx2 import AsyncClient, Response

JSON = {"content-type": "application/json"}


def errors(response: Response) -> list[dict[str, Any]]:
    document = response.json()
    assert (document["status"], document["type"]) == (422, "/problems/invalid-request")
    found: list[dict[str, Any]] = document["errors"]
    return found


async def test_each_wrong_value_has_a_pointer_a_code_and_a_sentence(probe: AsyncClient) -> None:
    response = await probe.post("/probe/things", json={"name": "x", "sizes": [1, "secret-size"]})

    name, size = errors(response)
    assert (name["location"], name["pointer"]) == ("body", "/name")
    assert name["code"] == "string_too_short"
    assert (size["location"], size["pointer"]) == ("body", "/sizes/1")
    assert "secret-size" not in response.text


async def test_parameters_say_where_they_are(probe: AsyncClient) -> None:
    response = await probe.get("/probe/things/abc?page=0", headers={"x-mode": "c"})

    places = [(error["location"], error["pointer"]) for error in errors(response)]
    assert places == [("path", "/thing_id"), ("query", "/page"), ("header", "/x-mode")]


async def test_the_message_does_not_repeat_the_input(probe: AsyncClient) -> None:
    response = await probe.post("/probe/things", json={"name": "ok", "pet": {"kind": "hunter2"}})

    assert errors(response)[0]["code"] == "union_tag_invalid"
    assert "hunter2" not in response.text


async def test_a_million_wrong_items_do_not_make_a_million_lines(probe: AsyncClient) -> None:
    response = await probe.post("/probe/things", json={"name": "ok", "sizes": ["a"] * 1000})

    assert len(errors(response)) == 50


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b'{"name": "a\0b"}',
        rb'{"name": "a\u0000b"}',
        rb'{"name": "ok", "extra": {"\ud800": "\udfff"}}',
        b'{"name": "ok", "sizes": [' + b"9" * 5000 + b"]}",
        b'{"name": "ok", "extra": {"x": 1e999}}',
        b'{"name": "ok", "extra": {"x": NaN}}',
        b"[" * 50_000,
    ],
)
async def test_a_body_that_is_no_json_is_refused(probe: AsyncClient, body: bytes) -> None:
    response = await probe.post("/probe/things", content=body, headers=JSON)

    (error,) = errors(response)
    assert (error["pointer"], error["code"]) == ("", "json_invalid")


async def test_a_key_made_of_half_a_pair_is_refused_not_echoed(probe: AsyncClient) -> None:
    response = await probe.post("/probe/things", content=rb'{"\ud800": 1}', headers=JSON)

    assert response.status_code == 422


async def test_a_long_number_within_bounds_is_kept_exactly(probe: AsyncClient) -> None:
    number = 12345678901234567890123456789

    response = await probe.post("/probe/things", json={"name": "ok", "sizes": [number]})

    assert (response.status_code, response.json()["sizes"]) == (201, [number])


async def test_a_body_of_another_type_is_refused(probe: AsyncClient) -> None:
    response = await probe.post("/probe/things", content=b"a=b", headers={"content-type": "x/y"})

    assert errors(response)[0]["pointer"] == ""


@pytest.mark.parametrize("path", ["/probe/things/1?page=%00", "/probe/things/%00"])
async def test_nul_in_the_address_is_refused(probe: AsyncClient, path: str) -> None:
    response = await probe.get(path)

    assert (response.status_code, response.json()["type"]) == (400, "/problems/bad-request")
