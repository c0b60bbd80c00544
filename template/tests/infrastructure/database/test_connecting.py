"""A database that does not answer fails fast, clearly, and without its password."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.core.clock import ManualClock
from app.core.container import build_container
from app.core.discovery import Registry
from app.core.errors import ConfigurationError, ServiceUnavailableError
from app.core.lifecycle import Lifecycle
from app.core.settings import load_settings
from app.infrastructure.database import Database
from app.infrastructure.database.breaker import CircuitBreaker, CircuitOpenError, CircuitState
from app.infrastructure.database.errors import DatabaseUnavailableError
from app.infrastructure.database.module import module
from app.infrastructure.database.settings import DatabaseSettings
from app.infrastructure.database.testing import app_settings

UNREACHABLE = "postgresql://nobody:hunter2secret@127.0.0.1:1/none"


def breaker(clock: ManualClock) -> CircuitBreaker:
    return CircuitBreaker(threshold=2, reset=5.0, monotonic=clock.monotonic)


def test_it_opens_after_failures_in_a_row() -> None:
    circuit = breaker(ManualClock())

    for _ in range(2):
        circuit.before()
        circuit.failed()

    assert circuit.state is CircuitState.OPEN
    with pytest.raises(CircuitOpenError):
        circuit.before()


def test_a_success_in_between_starts_the_count_again() -> None:
    circuit = breaker(ManualClock())

    circuit.failed()
    circuit.succeeded()
    circuit.failed()

    assert circuit.state is CircuitState.CLOSED


@pytest.mark.parametrize("works", [True, False])
def test_one_attempt_decides_after_the_pause(works: bool) -> None:
    clock = ManualClock()
    circuit = breaker(clock)
    circuit.failed()
    circuit.failed()
    clock.elapsed = 5.0

    circuit.before()
    with pytest.raises(CircuitOpenError):
        circuit.before()
    (circuit.succeeded if works else circuit.failed)()

    assert circuit.state is (CircuitState.CLOSED if works else CircuitState.OPEN)


def test_a_cancelled_attempt_lets_the_next_one_through() -> None:
    clock = ManualClock()
    circuit = breaker(clock)
    circuit.failed()
    circuit.failed()
    clock.elapsed = 5.0

    circuit.before()
    circuit.abandoned()

    circuit.before()


@pytest.fixture
async def unreachable() -> AsyncIterator[Database]:
    settings = DatabaseSettings(database_url=SecretStr(UNREACHABLE), db_circuit_failures=2)
    database = Database.from_settings(settings, app_settings(), ManualClock())
    yield database
    await database.dispose()


async def ask(database: Database) -> None:
    async with database.session() as session:
        await session.execute(text("SELECT 1"))


async def test_after_failures_nobody_tries_any_more(unreachable: Database) -> None:
    errors: list[ServiceUnavailableError] = []
    for _ in range(3):
        with pytest.raises(DatabaseUnavailableError if len(errors) < 2 else CircuitOpenError) as e:
            await ask(unreachable)
        errors.append(e.value)

    assert all("hunter2secret" not in repr(error) + str(error) for error in errors)
    assert errors[2].status == 503


async def test_all_connections_in_use_is_a_503(database: Database) -> None:
    settings = DatabaseSettings(
        database_url=SecretStr(database.engine.url.render_as_string(hide_password=False)),
        db_pool_size=1,
        db_pool_overflow=0,
        db_pool_timeout=0.05,
    )
    small = Database.from_settings(settings, app_settings(), ManualClock())
    async with small.session() as session:
        await session.execute(text("SELECT 1"))
        with pytest.raises(DatabaseUnavailableError, match="in use"):
            await ask(small)
    await small.dispose()


async def test_a_service_whose_database_is_away_says_so_and_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", UNREACHABLE)
    registry, settings = Registry((module,)), load_settings([module])
    lifecycle = Lifecycle(registry, settings, build_container(registry, settings))

    with pytest.raises(ConfigurationError, match="can't be reached") as caught:
        await lifecycle.start()

    assert "hunter2secret" not in str(caught.value)


async def test_a_server_that_goes_away_and_returns_is_used_again(
    postgres_url: str, each_url: str
) -> None:
    if not each_url.startswith("postgresql"):
        pytest.skip("SQLite has no server")
    settings = DatabaseSettings(database_url=SecretStr(each_url))
    database = Database.from_settings(settings, app_settings(), ManualClock())
    await ask(database)
    killer = Database.from_settings(
        DatabaseSettings(database_url=SecretStr(postgres_url)),
        app_settings(),
        ManualClock(),
    )
    async with killer.session() as session:
        # It returns when they have ended: one that is only told to could still take a statement.
        ended = await session.scalars(
            text(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
                "WHERE datname = :name"
            ),
            {"name": database.engine.url.database},
        )
        assert ended.all() == [True]

    await ask(database)

    await killer.dispose()
    await database.dispose()
