"""Bodies are bounded and every answer carries the security headers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from httpx2 import AsyncClient, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.module import Layer, MiddlewareSpec, Module
from tests.api.conftest import Serve

TOO_LARGE = "/problems/content-too-large"
JSON = {"content-type": "application/json"}


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 1000


async def test_a_declared_length_above_the_limit_is_refused(serve: Serve) -> None:
    async with serve(REQUEST_MAX_SIZE="2000") as client:
        response = await client.post("/probe/things", content=b" " * 2001, headers=JSON)

    assert (response.status_code, response.json()["type"]) == (413, TOO_LARGE)


async def test_a_streamed_body_is_counted(serve: Serve) -> None:
    async with serve(REQUEST_MAX_SIZE="2000") as client:
        response = await client.post("/probe/things", content=chunks(3), headers=JSON)
        fits = await client.post("/probe/things", content=chunks(2), headers=JSON)

    assert (response.status_code, response.json()["type"]) == (413, TOO_LARGE)
    assert fits.status_code == 422


async def test_a_route_sets_a_limit_of_its_own(serve: Serve) -> None:
    async with serve(REQUEST_MAX_SIZE="2000") as client:
        small = await client.post("/probe/small", json="x" * 20)
        large = await client.post("/probe/large", content=chunks(50))

    assert (small.status_code, small.json()["type"]) == (413, TOO_LARGE)
    assert (large.status_code, large.json()) == (200, 50_000)


async def test_a_middleware_that_reads_too_much_gets_the_same_answer(serve: Serve) -> None:
    class Reads:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            while (await receive()).get("more_body"):
                pass
            await self.app(scope, receive, send)

    reading = Module(
        name="reading",
        summary="Reads the body early",
        middleware=(MiddlewareSpec(build=lambda app, _: Reads(app), layer=Layer.PROTECT),),
    )
    async with serve(reading, REQUEST_MAX_SIZE="2000") as client:
        response = await client.post("/probe/unread", content=chunks(3))

    assert (response.status_code, response.json()["type"]) == (413, TOO_LARGE)


async def test_a_body_nobody_reads_is_nobodys_problem(serve: Serve) -> None:
    async with serve(REQUEST_MAX_SIZE="2000") as client:
        response = await client.post("/probe/unread", content=b" " * 3000)

    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/health/live", "/probe/boom", "/nowhere", "/probe/conflict"])
async def test_every_answer_carries_the_security_headers(probe: AsyncClient, path: str) -> None:
    headers = (await probe.get(path)).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "strict-transport-security" not in headers
    assert "server" not in headers


async def test_a_header_the_route_sets_wins(probe: AsyncClient) -> None:
    response = await probe.get("/probe/own-policy")

    assert response.headers.get_list("content-security-policy") == ["sandbox"]
    assert response.headers["x-frame-options"] == "DENY"


async def test_an_error_in_the_outermost_layer_is_a_problem_too(serve: Serve) -> None:
    class Breaks:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                return await self.app(scope, receive, send)
            message = "secret"
            raise RuntimeError(message)

    breaking = Module(
        name="breaking",
        summary="Breaks",
        middleware=(MiddlewareSpec(build=lambda app, _: Breaks(app), layer=Layer.OBSERVE),),
    )
    async with serve(breaking) as client:
        response = await client.get("/health/live")

    assert (response.status_code, response.json()["type"]) == (500, "/problems/internal-error")
    assert "secret" not in response.text


async def test_middleware_sits_where_its_layer_says(serve: Serve) -> None:
    seen: list[Layer] = []

    class Notes:
        def __init__(self, app: ASGIApp, layer: Layer) -> None:
            self.app, self.layer = app, layer

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                seen.append(self.layer)
            await self.app(scope, receive, send)

    def note(layer: Layer) -> MiddlewareSpec:
        return MiddlewareSpec(build=lambda app, _: Notes(app, layer), layer=layer)

    layers = (Layer.ROUTE, Layer.OBSERVE, Layer.PROTECT)
    noting = Module(
        name="noting",
        summary="Notes the order",
        middleware=tuple(note(layer) for layer in layers),
    )
    async with serve(noting) as client:
        await client.get("/health/live")

    assert seen == sorted(layers)


async def test_an_outermost_error_after_the_answer_began_only_breaks_it(serve: Serve) -> None:
    class BreaksLate:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app(scope, receive, send)
            if scope["type"] == "http":
                message = "too late"
                raise RuntimeError(message)

    breaking = Module(
        name="breaking",
        summary="Breaks late",
        middleware=(MiddlewareSpec(build=lambda app, _: BreaksLate(app), layer=Layer.OBSERVE),),
    )
    async with serve(breaking) as client:
        response = await client.get("/health/live")

    assert (response.status_code, response.json()) == (200, {"status": "up"})


async def test_the_framework_s_own_way_gives_the_same_answer(serve: Serve) -> None:
    """It is taken when telemetry is set up; the shorter one when that would do nothing."""
    async with serve() as client:
        app = client._transport.app  # type: ignore[attr-defined] # of ASGITransport
        assert app.traced is False
        short = await client.get("/probe/conflict")
        app.traced = True
        long = await client.get("/probe/conflict")

    def same(response: Response) -> object:
        own = {"traceId", "traceparent"}
        headers = {k: v for k, v in response.headers.items() if k not in own}
        return response.status_code, headers, response.json()["type"]

    assert same(short) == same(long)
