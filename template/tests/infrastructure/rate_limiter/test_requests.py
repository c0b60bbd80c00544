"""What clients of the service get to see."""

from __future__ import annotations

import re
from http import HTTPStatus

import pytest
from dishka import AsyncContainer
from fastapi import Depends, FastAPI
from httpx2 import ASGITransport, AsyncClient, Response
from redis.asyncio import Redis

from app.core.errors import ConfigurationError
from app.infrastructure.rate_limiter import QuotaExceededError, RateLimiter, limit
from app.infrastructure.rate_limiter.store import RedisStore
from app.infrastructure.redis import KeySpace
from tests.infrastructure.rate_limiter.conftest import Client, Serve, all_keys

TOO_MANY = HTTPStatus.TOO_MANY_REQUESTS
ITEM = re.compile(r'"(?P<name>[^"]+)";r=(?P<left>\d+);t=(?P<seconds>\d+)')


def left(answer: Response) -> dict[str, int]:
    """Return what `RateLimit` says, by policy."""
    found = ITEM.finditer(answer.headers["ratelimit"])
    return {item["name"]: int(item["left"]) for item in found}


async def statuses(client: AsyncClient, path: str, times: int, **headers: str) -> list[int]:
    return [(await client.get(path, headers=headers)).status_code for _ in range(times)]


async def test_what_is_too_much_is_a_problem_that_says_when_to_come_back(serve: Serve) -> None:
    async with serve(RATE_LIMIT_DEFAULT="2/minute") as client:
        assert await statuses(client, "/probe/plain/1", 2) == [200, 200]
        answer = await client.get("/probe/plain/2")

    assert answer.status_code == TOO_MANY
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "/problems/quota-exceeded"
    assert problem["violated-policies"] == ["default"]
    assert problem["traceId"] == answer.headers["traceparent"].split("-")[1]
    assert 30 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["ratelimit-policy"] == '"default";q=2;w=60'
    # Not before the window the client is told of ends.
    assert answer.headers["ratelimit"] == f'"default";r=0;t={answer.headers["retry-after"]}'


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/probe/plain/1", 200),
        ("GET", "/probe/plain/one", 422),
        ("DELETE", "/probe/plain/1", 405),
        ("GET", "/no/such/place", 404),
        ("GET", "/probe/boom", 500),
        ("GET", "/probe/plain/1?a=%00", 400),
    ],
)
async def test_every_answer_tells_the_limit(
    probe: Client, method: str, path: str, status: int
) -> None:
    """But for what the edge refuses unread: that is counted by nothing."""
    answer = await probe.request(method, path)

    assert answer.status_code == status
    if status == HTTPStatus.BAD_REQUEST:
        assert "ratelimit" not in answer.headers
    else:
        assert answer.headers["ratelimit-policy"] == '"default";q=100;w=60'
        assert left(answer) == {"default": 99}


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/docs"])
async def test_probes_and_docs_are_never_refused(serve: Serve, path: str) -> None:
    async with serve(RATE_LIMIT_DEFAULT="1/minute") as client:
        answers = [await client.get(path) for _ in range(3)]

    assert all(a.status_code != TOO_MANY and "ratelimit" not in a.headers for a in answers)


async def test_an_exempt_path_is_whole_segments(serve: Serve) -> None:
    async with serve(RATE_LIMIT_EXEMPT="/probe/pl,/probe/free", RATE_LIMIT_DEFAULT="1/d") as client:
        assert await statuses(client, "/probe/plain/1", 2) == [200, TOO_MANY]


async def test_a_route_may_be_left_out(serve: Serve) -> None:
    async with serve(RATE_LIMIT_DEFAULT="1/minute") as client:
        assert await statuses(client, "/probe/free", 3) == [200] * 3


async def test_a_limit_of_its_own_replaces_the_default(serve: Serve) -> None:
    async with serve(RATE_LIMIT_DEFAULT="1/minute") as client:
        assert await statuses(client, "/probe/two", 3) == [200, 200, TOO_MANY]


async def test_several_rates_hold_together(probe: Client) -> None:
    answer = await probe.get("/probe/two")

    assert answer.headers["ratelimit-policy"] == (
        '"address-minute";q=2;w=60, "address-hour";q=3;w=3600'
    )
    assert left(answer) == {"address-minute": 1, "address-hour": 2}


async def test_limits_of_one_name_share_their_counters(probe: Client) -> None:
    assert await statuses(probe, "/probe/one-shared", 2) == [200, 200]
    assert await statuses(probe, "/probe/other-shared", 2) == [200, TOO_MANY]


async def test_a_forged_forwarded_address_changes_nothing(serve: Serve) -> None:
    async with serve(RATE_LIMIT_DEFAULT="2/minute") as client:
        answers = [
            await client.get("/probe/plain/1", headers={"X-Forwarded-For": f"198.51.100.{number}"})
            for number in range(3)
        ]

    assert [answer.status_code for answer in answers] == [200, 200, TOO_MANY]


async def test_behind_a_trusted_proxy_the_client_is_who_it_forwards_for(serve: Serve) -> None:
    """And what the client has put in front of that changes nothing."""
    async with (
        serve(RATE_LIMIT_DEFAULT="2/minute", TRUSTED_PROXIES="10.0.0.0/8") as client,
        client.from_place("10.0.0.1") as proxy,
    ):
        one = [{"X-Forwarded-For": f"203.0.113.{number}, 198.51.100.1"} for number in range(3)]
        answers = [await proxy.get("/probe/plain/1", headers=headers) for headers in one]
        other = await proxy.get("/probe/plain/1", headers={"X-Forwarded-For": "198.51.100.2"})

    assert [answer.status_code for answer in answers] == [200, 200, TOO_MANY]
    assert other.status_code == HTTPStatus.OK


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
async def test_a_network_of_ipv6_is_one_client(
    serve: Serve, first: str, second: str, together: bool
) -> None:
    async with (
        serve(RATE_LIMIT_DEFAULT="1/minute") as client,
        client.from_place(first) as one,
        client.from_place(second) as other,
    ):
        assert (await one.get("/probe/plain/1")).status_code == HTTPStatus.OK
        status = (await other.get("/probe/plain/1")).status_code

    assert (status == TOO_MANY) is together


async def test_users_are_counted_apart_and_wherever_they_are(probe: Client) -> None:
    async with probe.from_place("192.0.2.9") as elsewhere:
        assert await statuses(probe, "/probe/mine", 2, authorization="ada") == [200, 200]
        assert await statuses(elsewhere, "/probe/mine", 1, authorization="ada") == [TOO_MANY]
        assert await statuses(elsewhere, "/probe/mine", 1, authorization="bob") == [200]


async def test_api_keys_are_counted_apart_and_not_shown(
    probe: Client, redis: Redis, keys: KeySpace
) -> None:
    secret = "sk-a-key-of-somebody"
    path = "/probe/key"
    assert await statuses(probe, path, 3, **{"x-api-key": secret}) == [200, 200, TOO_MANY]
    assert await statuses(probe, path, 1, **{"x-api-key": "another"}) == [200]
    assert await statuses(probe, path, 1) == [200]
    assert not any(secret in key for key in await all_keys(redis, keys))


async def test_a_part_of_the_request_may_be_the_key(probe: Client) -> None:
    path = "/probe/tenant"
    assert await statuses(probe, path, 3, **{"x-tenant": "a"}) == [200, 200, TOO_MANY]
    assert await statuses(probe, path, 1, **{"x-tenant": "b"}) == [200]


async def test_a_limit_by_route_alone_is_everybody_s(probe: Client) -> None:
    async with probe.from_place("192.0.2.9") as elsewhere:
        assert await statuses(probe, "/probe/everybody", 2) == [200, 200]
        assert await statuses(elsewhere, "/probe/everybody", 1) == [TOO_MANY]


async def test_a_login_is_counted_by_address_and_name(
    probe: Client, redis: Redis, keys: KeySpace
) -> None:
    """The name is in the body: a dependency reads it, and the key keeps it to itself."""
    ada = [await probe.post("/probe/login", json={"email": "ada@example.com"}) for _ in range(4)]
    bob = await probe.post("/probe/login", json={"email": "bob@example.com"})

    assert [answer.status_code for answer in ada] == [200, 200, 200, TOO_MANY]
    assert ada[-1].json()["violated-policies"] == ["login"]
    assert bob.status_code == HTTPStatus.OK
    assert left(bob) == {"door": 4, "login": 2}
    assert not any("ada" in key for key in await all_keys(redis, keys))


async def test_a_request_takes_one_round_trip(serve: Serve) -> None:
    """However many limits it has, of the router, of the route, with several rates."""
    async with serve() as client:
        container: AsyncContainer = client.service.state.dishka_container
        fast = (await container.get(RedisStore))._fast
        assert fast is not None
        for path, commands in {
            "/probe/plain/1": 1,
            "/probe/two": 1,
            "/probe/outer/middle/1/inner/1": 1,
            "/health/live": 0,
        }.items():
            await client.get(path)  # the script may have to be sent
            before = fast.statistics.commands
            await client.get(path)
            assert fast.statistics.commands - before == commands, path


async def test_no_request_leaves_a_key_without_an_expiry(
    probe: Client, redis: Redis, keys: KeySpace
) -> None:
    paths = ["plain/1", "two", "one-shared", "key", "tenant", "everybody", "nothing", "boom"]
    for path in [*paths, "outer/middle/1/inner/1", "island/1/palm/1"] * 4:
        await probe.get(f"/probe/{path}")
    await probe.post("/probe/login", json={"email": "ada@example.com"})

    found = [key for key in await all_keys(redis, keys) if ":limit:" in key]
    assert len(found) > 8
    assert all([await redis.pttl(key) > 0 for key in found])


async def test_it_can_be_switched_off(serve: Serve) -> None:
    async with serve(ENABLE_RATE_LIMITING="false", RATE_LIMIT_DEFAULT="1/minute") as client:
        assert await statuses(client, "/probe/plain/1", 3) == [200] * 3
        answers = [await client.post("/probe/login", json={"email": "a"}) for _ in range(5)]

    assert all(a.status_code == 200 and "ratelimit" not in a.headers for a in answers)


async def test_a_service_may_count_what_is_no_request(probe: Client) -> None:
    limiter = await probe.service.state.dishka_container.get(RateLimiter)
    mails = limit("2/hour", name="mails")

    assert [(await limiter.check(mails, user="7"))[0].left for _ in range(2)] == [1, 0]
    with pytest.raises(QuotaExceededError):
        await limiter.check(mails, user="7")
    await limiter.check(mails, user="8")
    with pytest.raises(ValueError, match="needs a limit with a name"):
        await limiter.check(limit("2/hour"), user="7")


async def test_a_limit_in_another_application_says_what_it_needs() -> None:
    app = FastAPI()

    @app.get("/", dependencies=[Depends(limit("1/minute"))])
    async def index() -> str:
        return "index"

    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://test") as client:
        with pytest.raises(ConfigurationError, match=r"made by create_app\(\)"):
            await client.get("/")


async def test_the_health_overview_shows_the_default(probe: Client) -> None:
    found = (await probe.get("/health")).json()["checks"]["rate_limiter"]

    assert found["status"] == "up"
    assert found["details"] == {"enabled": True, "default": "100/60s"}
