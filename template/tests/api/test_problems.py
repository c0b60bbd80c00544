"""Every error is a problem document (RFC 9457), and tells nothing it should not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from dishka import FromDishka, Provider, Scope
from fastapi import APIRouter
from httpx2 import AsyncClient, Response
from loguru import logger

from app.core.errors import ConflictError
from app.core.module import Module
from app.core.problems import PROBLEM_JSON
from app.core.routing import ScopedRoute
from tests.api.conftest import Serve


def problem(response: Response) -> dict[str, Any]:
    """Check what is true of every problem document and return it."""
    document: dict[str, Any] = response.json()
    assert response.headers["content-type"] == PROBLEM_JSON
    assert document["status"] == response.status_code
    assert document["type"].startswith("/problems/")
    assert len(document["traceId"]) == 32
    assert document["title"]
    assert document["detail"]
    return document


async def test_an_error_of_the_service_has_its_type_headers_and_extensions(
    probe: AsyncClient,
) -> None:
    response = await probe.get("/probe/conflict")

    document = problem(response)
    assert document["type"] == "/problems/conflict"
    assert document["title"] == "Conflict"
    assert document["detail"] == "The request contradicts the present state."
    assert document["instance"] == "/probe/conflict"
    assert document["other"] == "thing-1"
    assert response.headers["retry-after"] == "7"
    assert response.status_code == 409


async def test_an_unknown_path_is_a_problem(probe: AsyncClient) -> None:
    document = problem(await probe.get("/no/such%20thing%0D%0A"))

    assert (document["type"], document["status"]) == ("/problems/not-found", 404)
    assert document["instance"] == "/no/such%20thing%0D%0A"


async def test_a_wrong_method_is_a_problem_that_names_the_right_ones(probe: AsyncClient) -> None:
    response = await probe.put("/probe/things/1")

    assert problem(response)["type"] == "/problems/method-not-allowed"
    assert response.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, "not-found"),
        (413, "content-too-large"),
        (418, "i-m-a-teapot"),
        (422, "unprocessable"),
        (599, "status-599"),
    ],
)
async def test_a_bare_status_gets_a_type_that_is_the_same_on_every_python(
    probe: AsyncClient, status: int, kind: str
) -> None:
    assert problem(await probe.get(f"/probe/status/{status}"))["type"] == f"/problems/{kind}"


async def test_not_modified_has_no_body(probe: AsyncClient) -> None:
    response = await probe.get("/probe/status/304")

    assert (response.status_code, response.content) == (304, b"")


@pytest.mark.parametrize("path", ["/probe/boom", "/probe/our-fault", "/probe/wrong-answer"])
async def test_an_unhandled_error_tells_nothing_and_is_logged_once_with_its_trace(
    probe: AsyncClient, path: str
) -> None:
    records: list[Any] = []
    sink = logger.add(lambda message: records.append(message.record), level="ERROR")

    response = await probe.get(path)

    logger.remove(sink)
    document = problem(response)
    assert document["type"] == "/problems/internal-error"
    assert document["detail"] == "Something went wrong on our side."
    assert "hunter2" not in response.text
    assert [record["exception"] is not None for record in records] == [True]


class Held:
    """Something that can't be given back."""


async def held() -> AsyncIterator[Held]:
    yield Held()
    message = "lost"
    raise OSError(message)


async def test_what_a_handler_says_comes_before_what_its_services_meet_at_their_end(
    serve: Serve,
) -> None:
    router = APIRouter(route_class=ScopedRoute)

    @router.get("/held")
    async def refuse(_held: FromDishka[Held]) -> None:
        raise ConflictError

    provider = Provider(scope=Scope.REQUEST)
    provider.provide(held)
    module = Module(name="held", summary="Holds", routers=(router,), providers=(provider,))
    async with serve(module) as client:
        assert (await client.get("/held")).status_code == 409


async def test_an_expected_unavailability_is_no_error_in_the_log(probe: AsyncClient) -> None:
    records: list[Any] = []
    sink = logger.add(lambda message: records.append(message.record), level="ERROR")

    document = problem(await probe.get("/probe/unavailable"))

    logger.remove(sink)
    assert document["type"] == "/problems/service-unavailable"
    assert not [record for record in records if record["exception"]]


async def test_a_stream_that_breaks_is_logged_and_left_incomplete(probe: AsyncClient) -> None:
    records: list[Any] = []
    sink = logger.add(lambda message: records.append(message.record), level="ERROR")

    with pytest.raises(AssertionError):  # the in-process transport asks for a complete answer
        await probe.get("/probe/half")

    logger.remove(sink)
    assert len([record for record in records if record["exception"]]) == 1
