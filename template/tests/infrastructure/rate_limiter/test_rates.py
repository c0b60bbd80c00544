"""How rates are written, and what can't be counted."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.infrastructure.rate_limiter import Algorithm, By, limit
from app.infrastructure.rate_limiter.rates import Policy, Rate, parse_rates
from app.infrastructure.rate_limiter.settings import RateLimiterSettings


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("5/minute", [(5, 60)]),
        ("5/minutes", [(5, 60)]),
        ("100 per hour", [(100, 3600)]),
        ("10/30s", [(10, 30)]),
        ("1/2 days", [(1, 172_800)]),
        ("5/m;20/h, 50/d", [(5, 60), (20, 3600), (50, 86_400)]),
    ],
)
def test_a_rate(text: str, rates: list[tuple[int, int]]) -> None:
    assert list(parse_rates(text)) == [Rate(*rate) for rate in rates]


@pytest.mark.parametrize(
    "text", ["", "5", "/minute", "0/minute", "5/0s", "-5/minute", "5/fortnight", "5/minute;", "5 m"]
)
def test_no_rate_says_how_one_is_written(text: str) -> None:
    with pytest.raises(ValueError, match="write 5/minute, 100 per hour or 10/30s"):
        parse_rates(text)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rate": "100001/s", "algorithm": Algorithm.SLIDING_WINDOW}, "a token bucket takes any"),
        ({"rate": "5/s", "burst": 9}, "use Algorithm.TOKEN_BUCKET"),
        ({"rate": "5/s", "burst": -1, "algorithm": Algorithm.TOKEN_BUCKET}, "1 or more"),
        ({"rate": "5/s", "cost": 6}, "1 up to its quota"),
        ({"rate": "5/s", "cost": 0}, "1 up to its quota"),
        ({"rate": "5/s", "name": "a b"}, "no name of a limit"),
        ({"rate": "5/s", "by": ()}, "By.ROUTE for everybody's"),
    ],
)
def test_what_can_not_be_counted_is_refused_where_it_is_declared(
    options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        limit(**options)  # type: ignore[arg-type] # any mistake


def test_the_policy_of_a_bucket_tells_its_size_and_the_time_it_takes_to_fill() -> None:
    policy = Policy("p", Rate(10, 1), Algorithm.TOKEN_BUCKET, burst=25)

    assert policy.shown == '"p";q=25;w=3'
    assert Policy.of_kind("p", policy.kind) == policy


def test_names_tell_the_windows_of_a_limit_apart() -> None:
    assert [p.name for p in limit("5/minute;9/30s").policies] == ["address-minute", "address-30s"]
    assert [p.name for p in limit("5/minute", name="login").policies] == ["login"]
    assert [p.name for p in limit("5/s;9/m", name="login").policies] == [
        "login-second",
        "login-minute",
    ]


def test_a_limit_without_a_name_is_the_route_s_own() -> None:
    assert limit("5/minute").by == (By.ADDRESS, By.ROUTE)
    assert limit("5/minute", name="login").by == (By.ADDRESS,)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"rate_limit_default": "many"}, "write 5/minute"),
        ({"rate_limit_default_by": "colour"}, "'address', 'user', 'api-key' or 'route'"),
        ({"rate_limit_default_by": ","}, "name address, user, api-key or route"),
        ({"rate_limit_exempt": "/"}, "ENABLE_RATE_LIMITING=false is all"),
        ({"rate_limit_exempt": "health"}, "must be a path such as /health"),
        ({"rate_limit_timeout": 0}, "greater than 0"),
        ({"rate_limit_ipv6_prefix": 129}, "less than or equal to 128"),
        ({"rate_limit_on_down": "maybe"}, "'open' or 'closed'"),
        ({"rate_limit_api_key_header": "a b"}, "match pattern"),
    ],
)
def test_a_setting_that_can_not_be_used_says_why(
    settings: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValidationError, match=sentence):
        RateLimiterSettings.model_validate(settings)


def test_a_default_of_none_is_no_limit() -> None:
    assert RateLimiterSettings(rate_limit_default="none").default_limit() is None
