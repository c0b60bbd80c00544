"""The database is named by a URL or by parts; weak ones stay out of production."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.infrastructure.database.settings import DatabaseSettings


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DatabaseSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def settings(**values: object) -> DatabaseSettings:
    return DatabaseSettings.model_validate(values)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_spelling_of_postgresql_is_served_by_asyncpg(scheme: str) -> None:
    url = settings(database_url=f"{scheme}://u:p@db/name?sslmode=require").url

    assert url.drivername == "postgresql+asyncpg"
    assert dict(url.query) == {"ssl": "require"}


def test_parts_make_a_url_whatever_the_password_holds() -> None:
    url = settings(db_host="db", db_user="me", db_password="p@ss:/w?rd", db_name="shop").url

    assert (url.host, url.username, url.password, url.database) == (
        "db",
        "me",
        "p@ss:/w?rd",
        "shop",
    )


def test_the_default_is_a_file_of_the_project() -> None:
    assert settings().url.database == "var/app.db"


def test_url_and_parts_together_are_refused() -> None:
    with pytest.raises(ValidationError, match="DATABASE_URL and DB_HOST are both set"):
        settings(database_url="sqlite:///x.db", db_host="db")


@pytest.mark.parametrize("url", ["mysql://u:hunter2@db/x", "hunter2 is no url"])
def test_another_database_is_refused_without_showing_the_url(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(database_url=url)

    assert "hunter2" not in str(caught.value)


def test_replicas_are_separated_by_blanks() -> None:
    found = settings(database_replica_urls="postgresql://a/x  postgresql://b/x").replica_urls

    assert [url.host for url in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "variable"),
    [
        ({}, "DATABASE_URL"),
        ({"database_url": "postgresql://shop:short@db/shop"}, "DATABASE_URL"),
        ({"database_url": "postgresql://shop@db/shop"}, "DATABASE_URL"),
        (
            {"db_host": "db", "db_user": "administrator", "db_password": "administrator"},
            "DB_PASSWORD",
        ),
    ],
)
def test_what_is_weak_is_named_with_its_fix(values: dict[str, object], variable: str) -> None:
    (weakness,) = settings(**values).weaknesses()

    assert weakness.variable == variable
    assert weakness.fix


def test_a_long_random_password_is_accepted() -> None:
    strong = settings(database_url="postgresql://shop:4f1d9c2b7a6e5f3081b2@db/shop")

    assert list(strong.weaknesses()) == []
