"""Which operation a request is counted under: the one that answers it."""

from __future__ import annotations

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from redis.asyncio import Redis
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route
from starlette.types import Scope

from app.api import create_app
from app.infrastructure.logger.access import route_template
from app.infrastructure.rate_limiter.middleware import limits_of
from app.infrastructure.rate_limiter.routes import RouteTable
from app.infrastructure.rate_limiter.settings import RateLimiterSettings
from app.infrastructure.redis import KeySpace
from tests.infrastructure.rate_limiter.conftest import Client, Serve, all_keys


def scope(path: str, method: str = "GET", root_path: str = "") -> Scope:
    return {"type": "http", "path": path, "method": method, "root_path": root_path}


endpoint = PlainTextResponse("")


async def nothing() -> None:
    """Is never called."""


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/probe/plain/7", {"default"}),
        ("/probe/outer/middle/here/inner/7", {"address-route-minute", "branch"}),
        ("/probe/nested/inner/7", {"default"}),
        ("/island/1/palm/7", {"default"}),
        ("/island/1/guarded", {"address-minute"}),
        ("/island/1/nothing", {"default"}),
        ("/users/stream", {"default"}),
        ("/nothing", {"default"}),
    ],
)
async def test_a_limit_holds_on_every_kind_of_route(
    probe: Client, path: str, names: set[str]
) -> None:
    """Nested three deep, with prefixes and parameters in them, mounted, or not there at all."""
    policies = (await probe.get(path)).headers["ratelimit-policy"]

    assert {item.strip().split(";")[0].strip('"') for item in policies.split(",")} == names


async def test_the_key_holds_the_whole_path_template(
    probe: Client, redis: Redis, keys: KeySpace
) -> None:
    """So paths of one route share a counter, and one router under two prefixes has two."""
    for path in ("outer/middle/a/inner/1", "outer/middle/b/inner/2", "nested/inner/1"):
        await probe.get(f"/probe/{path}")
    for number in (1, 2):
        await probe.get(f"/island/{number}/palm/{number}")

    counters = {
        key.split(":limit:")[1]: int(str(await redis.get(key))) for key in await found(redis, keys)
    }
    assert counters == {
        "-:GET /probe/outer/middle/{place}/inner/{thing_id}:fixed-window-5-60": 2,
        "branch::fixed-window-4-3600": 2,
        "default:GET /probe/nested/inner/{thing_id}:fixed-window-100-60": 1,
        "default:GET /island/{number}/palm/{number}:fixed-window-100-60": 2,
    }


async def found(redis: Redis, keys: KeySpace) -> list[str]:
    return [key for key in await all_keys(redis, keys) if ":limit:" in key and "{" in key]


async def test_every_route_of_the_service_has_a_limit_or_is_exempt(serve: Serve) -> None:
    settings = RateLimiterSettings()
    async with serve() as client:
        table = RouteTable(client.service.routes)
        paths = {
            f"{context.path_format}"
            for context in iter_route_contexts(client.service.routes)
            if isinstance(context.original_route, APIRoute)
        }

    operations = list(table)
    assert {operation.path_format for operation in operations} > paths
    free = {
        operation.path_format
        for operation in operations
        if not limits_of(operation, settings.default_limit(), settings.rate_limit_exempt)
    }
    assert free == {
        "/health", "/health/live", "/health/ready", "/docs", "/openapi.json", "/probe/free"
    }  # fmt: skip


PATHS = [
    "/probe/plain/7",
    "/probe/outer/middle/here/inner/7",
    "/probe/nested/inner/7",
    "/health/live",
    "/users",
    "/users/stream",
    "/users/01890000-0000-7000-8000-000000000000",
    "/users/",
    "/probe",
    "/",
]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_the_table_finds_what_the_router_finds(
    serve: Serve, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the log sees it afterwards."""
    seen: list[str] = []

    def note(scope: Scope) -> str:
        seen.append(route_template(scope))
        return seen[-1]

    monkeypatch.setattr("app.infrastructure.logger.access.route_template", note)
    async with serve() as client:
        table = RouteTable(client.service.routes)
        for path in PATHS:
            await client.request(method, path)
            named = table.find(scope(path, method)).path_format
            assert named == seen[-1], path


async def test_a_refused_request_is_logged_under_its_route(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def note(scope: Scope) -> str:
        seen.append(route_template(scope))
        return seen[-1]

    monkeypatch.setattr("app.infrastructure.logger.access.route_template", note)
    async with serve(RATE_LIMIT_DEFAULT="1/minute") as client:
        for _ in range(2):
            await client.get("/probe/plain/1")

    assert seen == ["/probe/plain/{number}"] * 2


@pytest.fixture
def app() -> FastAPI:
    """An application whose routes overlap."""
    made = FastAPI(openapi_url=None)
    late = APIRouter()
    made.include_router(late, prefix="/late")
    made.get("/things/{thing_id}")(nothing)
    made.get("/things/special")(nothing)
    made.post("/things/special")(nothing)
    made.router.routes += [
        Route("/plain", nothing),
        Host("other.example", Route("/x", nothing)),
        Mount("/files", endpoint),
        Mount("/{a}", routes=[Mount("/{a}", routes=[Route("/{a:int}", nothing)])]),
    ]
    made.websocket("/socket")(nothing)
    late.get("/route")(nothing)
    return made


@pytest.mark.parametrize(
    ("method", "path", "root_path", "name"),
    [
        ("GET", "/things/special", "", "GET /things/{thing_id}"),
        ("POST", "/things/special", "", "POST /things/special"),
        ("PUT", "/a/b/1", "", "/{a}/{a}/*"),
        ("GET", "/socket", "", "<unmatched>"),
        ("PUT", "/plain", "", "GET|HEAD /plain"),
        ("GET", "/api/things/1", "/api", "GET /things/{thing_id}"),
        ("GET", "/things/1", "/api", "GET /things/{thing_id}"),
        ("GET", "/apiary/plain", "/api", "/{a}/*"),
        ("HEAD", "/plain", "", "GET|HEAD /plain"),
        ("GET", "/files/a/b", "", "/files/*"),
        ("GET", "/a/b/1", "", "GET|HEAD /{a}/{a}/{a}"),
        ("GET", "/a/b/c", "", "/{a}/{a}/*"),
        ("GET", "/a", "", "<unmatched>"),
        ("GET", "/late/route", "", "GET /late/route"),
    ],
)
def test_the_first_that_fits_is_found_as_the_router_does(
    app: FastAPI, method: str, path: str, root_path: str, name: str
) -> None:
    assert RouteTable(app.routes).find(scope(path, method, root_path)).name == name


async def test_the_default_may_count_all_routes_together(serve: Serve) -> None:
    async with serve(RATE_LIMIT_DEFAULT="2/minute", RATE_LIMIT_DEFAULT_BY="address") as client:
        answers = [await client.get(path) for path in ("/probe/plain/1", "/probe/boom", "/nope")]

    assert [answer.status_code for answer in answers] == [200, 500, 429]


@pytest.mark.parametrize("by", ["user", "user,route", "api-key", "api-key,user"])
async def test_the_default_counts_who_is_not_known(serve: Serve, by: str) -> None:
    """By address; a limit that waits for a user would wait for ever where nobody signs in."""
    async with serve(RATE_LIMIT_DEFAULT="2/minute", RATE_LIMIT_DEFAULT_BY=by) as client:
        answers = [await client.get("/probe/plain/1") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]


def test_the_application_itself_can_be_read() -> None:
    """`app limiter routes` sees the routes of the modules; this is all there is."""
    assert [operation.name for operation in RouteTable(create_app().routes)]
