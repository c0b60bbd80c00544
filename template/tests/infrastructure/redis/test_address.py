"""`REDIS_URL` is read strictly, and no message repeats it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.infrastructure.redis.address import Mode, parse_address
from app.infrastructure.redis.settings import RedisSettings


def test_a_plain_server() -> None:
    address = parse_address("redis://me:p%40ss@cache:6380/2")

    assert (address.mode, address.tls, address.hosts) == (Mode.SINGLE, False, (("cache", 6380),))
    assert (address.username, address.password, address.database) == ("me", "p@ss", 2)


def test_tls_and_the_default_port() -> None:
    address = parse_address("rediss://cache")

    assert (address.tls, address.hosts) == (True, (("cache", 6379),))


def test_sentinels_and_their_service() -> None:
    address = parse_address("redis+sentinel://a:1,b/mymaster/3", password="secret")

    assert address.hosts == (("a", 1), ("b", 26379))
    assert (address.service, address.database, address.password) == ("mymaster", 3, "secret")


def test_a_cluster() -> None:
    address = parse_address("rediss+cluster://a,[::1]:7000")

    assert (address.mode, address.hosts) == (Mode.CLUSTER, (("a", 6379), ("::1", 7000)))


def test_a_socket_file() -> None:
    assert parse_address("unix:///run/redis.sock").path == "/run/redis.sock"


@pytest.mark.parametrize(
    "url",
    [
        "hunter2",
        "http://hunter2",
        "redis://:hunter2@",
        "redis://:hunter2@host:port",
        "redis://:hunter2@host:70000",
        "redis://:hunter2@host/first",
        "redis://:hunter2@host/0/1",
        "redis+sentinel://:hunter2@host",
        "redis+cluster://:hunter2@host/1",
        "unix://hunter2",
        "embedded://hunter2",
        "redis://:hunter2@host/0?ssl=true",
        "redis://:hunter2@host/999999",
        "redis://:hunter2@[::1",
        "redis://:hunter2@[::1]6379",
        "redis://:hunter2@a b",
        "unix:///run/hunter2.sock?db=1",
    ],
)
def test_anything_else_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValidationError, match="REDIS_URL") as caught:
        RedisSettings.model_validate({"redis_url": url})

    assert "hunter2" not in str(caught.value)


def test_its_text_holds_no_password() -> None:
    assert "hunter2" not in repr(parse_address("redis://:hunter2@host/0"))


@pytest.mark.parametrize(
    ("url", "weak"),
    [
        ("embedded://", True),
        ("redis://cache/0", True),
        ("redis://:long-random-word@cache/0", False),
        ("unix:///run/redis.sock", False),
    ],
)
def test_production_wants_a_server_with_a_password(url: str, weak: bool) -> None:
    settings = RedisSettings.model_validate({"redis_url": url, "redis_password": ""})

    assert bool(list(settings.weaknesses())) is weak
