"""Every request has a trace and one line that says how it ended."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from dishka import Provider
from fastapi import APIRouter, WebSocket
from fastapi.responses import StreamingResponse
from httpx2 import ASGITransport, AsyncClient
from loguru import logger
from starlette.types import Message, Receive, Scope, Send

from app.api import create_app
from app.core.discovery import Registry, discover
from app.core.module import Module
from app.core.settings import load_settings
from app.infrastructure.logger import current_context, set_level, set_user
from app.infrastructure.logger.access import RequestLog, route_template
from app.infrastructure.logger.proxies import ClientAddress
from app.infrastructure.logger.testing import LogLines

Serve = Callable[..., AbstractAsyncContextManager[AsyncClient]]

ACCESS = "app.infrastructure.logger.access"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"

things = APIRouter(prefix="/things")
shelves = APIRouter(prefix="/shelves/{shelf}")
probe = APIRouter(prefix="/probe")


@things.get("/{thing}")
async def get_thing(shelf: str, thing: str) -> str:
    logger.info("looking for {}", thing)
    return shelf


@probe.get("/boom")
async def boom() -> None:
    message = "password=hunter2"
    raise RuntimeError(message)


@probe.get("/me")
async def me() -> str:
    set_user("7", "admin")
    return "you"


@probe.get("/stream")
async def stream() -> StreamingResponse:
    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        logger.info("streaming")
        yield b"b"

    return StreamingResponse(body())


shelves.include_router(things)
probe.include_router(shelves)
PROBE = Module(name="probe", summary="Routes to look at", routers=(probe,))


@pytest.fixture
def serve(overrides: list[Provider], monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Start the service with the probe and these settings."""

    @asynccontextmanager
    async def start(**environment: str) -> AsyncIterator[AsyncClient]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        registry = Registry((*discover().modules, PROBE))
        settings = load_settings(registry.modules)
        app = create_app(registry=registry, settings=settings, overrides=overrides)
        transport = ASGITransport(app=app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            yield client

    return start


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[AsyncClient]:
    async with serve() as http:
        yield http


def access(lines: LogLines) -> dict[str, Any]:
    """Return the one access line."""
    (line,) = [line for line in lines if line["logger"] == ACCESS]
    return line


def of_requests(lines: LogLines) -> LogLines:
    """Leave out what the service says of its own accord, of a database that is slow for example."""
    return [line for line in lines if line["logger"] in {ACCESS, __name__}]


async def test_a_request_is_one_line(client: AsyncClient, log_lines: LogLines) -> None:
    await client.get("/probe/shelves/a/things/b?token=x", headers={"user-agent": "test/1"})

    line = access(log_lines)
    route = "/probe/shelves/{shelf}/things/{thing}"
    assert (line["method"], line["route"], line["status"]) == ("GET", route, 200)
    assert isinstance(line["duration_ms"], float)
    assert (line["client_address"], line["user_agent"]) == ("127.0.0.1", "test/1")
    assert re.fullmatch(rf"GET {re.escape(route)} 200 \d+\.\d ms", line["message"])
    assert line["level"] == "INFO"


async def test_the_callers_trace_is_kept_returned_and_on_every_line(
    client: AsyncClient, log_lines: LogLines
) -> None:
    response = await client.get("/probe/shelves/a/things/b", headers={"traceparent": PARENT})

    version, trace, span, flags = response.headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert span != "b7ad6b7169203331"
    lines = of_requests(log_lines)
    assert len(lines) == 2
    assert {(line["trace_id"], line["span_id"]) for line in lines} == {(TRACE, span)}
    assert current_context().trace_id is None


async def test_the_callers_decision_not_to_record_is_kept(client: AsyncClient) -> None:
    response = await client.get("/probe/me", headers={"traceparent": PARENT[:-2] + "00"})

    assert response.headers["traceparent"].endswith("-00")


@pytest.mark.parametrize("headers", [[], ["nonsense"], [PARENT, PARENT]])
async def test_without_one_valid_header_a_trace_begins(
    client: AsyncClient, headers: list[str]
) -> None:
    given = [("traceparent", header) for header in headers]
    first, second = [await client.get("/probe/me", headers=given) for _ in range(2)]

    traces = {answer.headers["traceparent"].split("-")[1] for answer in (first, second)}
    assert len(traces) == 2
    assert TRACE not in traces


async def test_the_user_is_on_the_access_line(client: AsyncClient, log_lines: LogLines) -> None:
    await client.get("/probe/me")

    assert (access(log_lines)["user_id"], access(log_lines)["role"]) == ("7", "admin")
    assert current_context().user_id is None


async def test_an_unhandled_error_is_logged_once_with_its_trace(
    client: AsyncClient, log_lines: LogLines
) -> None:
    response = await client.get("/probe/boom", headers={"traceparent": PARENT})

    (failure,) = [
        line for line in log_lines if "exception" in line and line.get("trace_id") == TRACE
    ]
    assert failure["level"] == "ERROR"
    assert response.json()["traceId"] == TRACE
    assert failure["exception"].endswith("RuntimeError: password=***")
    assert (access(log_lines)["status"], access(log_lines)["level"]) == (500, "WARNING")


async def test_a_path_nobody_serves_has_no_route_of_its_own(
    client: AsyncClient, log_lines: LogLines
) -> None:
    await client.get("/nowhere/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.s5VPl3Ty9/%0Ax")

    line = access(log_lines)
    assert (line["route"], line["status"]) == ("<unmatched>", 404)
    assert line["path"] == "/nowhere/***/\\nx"


async def test_a_method_that_is_not_allowed_names_the_route_or_none(
    client: AsyncClient, log_lines: LogLines
) -> None:
    await client.delete("/probe/me")

    assert access(log_lines)["status"] == 405
    assert access(log_lines)["route"] in {"/probe/me", "<unmatched>"}


async def test_a_stream_is_logged_when_it_ends(client: AsyncClient, log_lines: LogLines) -> None:
    await client.get("/probe/stream", headers={"traceparent": PARENT})

    lines = of_requests(log_lines)
    assert [line["message"].split(" ")[0] for line in lines] == ["streaming", "GET"]
    assert lines[0]["trace_id"] == TRACE


async def test_health_is_asked_too_often_to_be_shown(
    client: AsyncClient, log_lines: LogLines
) -> None:
    await client.get("/health/live")
    assert of_requests(log_lines) == []

    set_level(ACCESS, "DEBUG")
    await client.get("/health/live")
    assert access(log_lines)["level"] == "DEBUG"


@pytest.mark.parametrize(
    ("trusted", "client"), [("127.0.0.0/8", "203.0.113.9"), ("10.0.0.0/8", "127.0.0.1")]
)
async def test_the_client_is_who_trusted_proxies_say(
    serve: Serve, log_lines: LogLines, trusted: str, client: str
) -> None:
    async with serve(TRUSTED_PROXIES=trusted) as http:
        await http.get("/probe/me", headers={"x-forwarded-for": "198.51.100.1, 203.0.113.9"})

    assert access(log_lines)["client_address"] == client


async def test_a_user_agent_is_cut_and_made_safe(client: AsyncClient, log_lines: LogLines) -> None:
    agent = b"Bearer abc.def \x85" + b"x" * 1000
    await client.get("/probe/me", headers=[(b"user-agent", agent)])

    shown = access(log_lines)["user_agent"]
    assert shown.startswith("Bearer *** \\x85xxx")
    assert len(shown) < 310


async def run(
    app: Callable[[Scope, Receive, Send], Any], scope: dict[str, Any], log: list[Message]
) -> None:
    """Serve one connection."""
    whole = {"headers": [], "path": "/x", "client": None, **scope}

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        log.append(message)

    await RequestLog(app, ClientAddress(()))(whole, receive, send)


async def test_a_client_that_went_away_is_no_failure(log_lines: LogLines) -> None:
    async def gone(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await run(gone, {"type": "http", "method": "GET"}, [])

    assert (access(log_lines)["status"], access(log_lines)["level"]) == (499, "INFO")
    assert "client_address" not in access(log_lines)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ({"type": "websocket.accept"}, 101),
        ({"type": "websocket.close"}, 403),
        ({"type": "websocket.http.response.start", "status": 401, "headers": []}, 401),
    ],
)
async def test_a_websocket_is_one_line(
    log_lines: LogLines, message: dict[str, Any], status: int
) -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if message["type"] == "websocket.accept":
            await WebSocket(scope, receive, send).accept()
        else:
            await send(message)

    sent: list[Message] = []
    scope = {"type": "websocket", "headers": [(b"traceparent", PARENT.encode())]}
    await run(answer, scope, sent)

    line = access(log_lines)
    assert (line["method"], line["status"], line["trace_id"]) == ("WEBSOCKET", status, TRACE)
    if message["type"] != "websocket.close":
        assert dict(sent[0]["headers"])[b"traceparent"].startswith(f"00-{TRACE}".encode())


async def test_the_lifespan_passes_through(log_lines: LogLines) -> None:
    seen: list[str] = []

    async def lifespan(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    await run(lifespan, {"type": "lifespan"}, [])

    assert seen == ["lifespan"]
    assert log_lines == []


@pytest.mark.parametrize(
    ("scope", "template"),
    [
        ({}, "<unmatched>"),
        ({"fastapi": "changed", "route": SimpleNamespace(path_format="/own")}, "/own"),
        ({"fastapi": {"effective_route_context": None}}, "<unmatched>"),
        (
            {
                "fastapi": {"effective_route_context": SimpleNamespace(path_format="/whole/own")},
                "route": SimpleNamespace(path_format="/own"),
            },
            "/whole/own",
        ),
        ({"route": SimpleNamespace()}, "<unmatched>"),
    ],
)
def test_the_route_template_survives_what_fastapi_keeps_private(
    scope: dict[str, Any], template: str
) -> None:
    assert route_template(scope) == template


async def test_the_line_is_the_same_when_others_listen_to_loguru(
    serve: Serve, log_lines: LogLines
) -> None:
    """Without them it is written without loguru in between."""
    heard: list[str | None] = []
    async with serve() as client:
        for path in ("/probe/me", "/no\u202esuch/path"):
            await client.get(path)
            sink = logger.add(lambda message: heard.append(message.record["name"]), filter=ACCESS)
            await client.get(path)
            logger.remove(sink)

    own = {"timestamp", "duration_ms", "trace_id", "span_id", "message"}
    lines = [line for line in log_lines if line["logger"] == ACCESS]
    shown = [
        (list(line), {k: v for k, v in line.items() if k not in own}, line["message"].split()[:-2])
        for line in lines
    ]
    assert shown[0] == shown[1]
    assert shown[2] == shown[3]
    assert heard == [ACCESS, ACCESS]
