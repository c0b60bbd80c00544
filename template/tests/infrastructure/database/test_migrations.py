"""Migrations: run as commands in processes of their own, on each database."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from app.core.clock import SystemClock
from app.core.folders import APP_ROOT
from app.infrastructure.database import Database
from app.infrastructure.database.testing import app_settings, database_settings

pytestmark = pytest.mark.slow
PROJECT = APP_ROOT.parents[1]
VERSIONS = PROJECT / "migrations" / "versions"
BRANCHES = sorted(
    path.name
    for path in VERSIONS.glob("*")
    if (APP_ROOT / "modules" / path.name).exists()
    or (APP_ROOT / "infrastructure" / path.name).exists()
)


def db(url: str, *words: str, cwd: Path = PROJECT, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `app db …` against a database."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(cwd / "src"),
        "DATABASE_URL": url,
        "NO_COLOR": "1",
        **env,
    }
    return subprocess.run(
        [sys.executable, "-m", "app", "db", *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


async def _tables(url: str) -> set[str]:
    database = Database.from_settings(database_settings(url), app_settings(), SystemClock())
    async with database.engine.connect() as connection:
        names = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
    await database.dispose()
    return names


def test_the_migrated_schema_equals_the_models(each_url: str) -> None:
    assert db(each_url, "upgrade").returncode == 0

    check = db(each_url, "check")

    assert (check.returncode, check.stderr) == (0, "")


def test_every_branch_can_be_taken_back(each_url: str) -> None:
    db(each_url, "upgrade")

    for branch in BRANCHES:
        done = db(each_url, "downgrade", f"{branch}@base")
        assert done.returncode == 0, done.stderr

    assert asyncio.run(_tables(each_url)) <= {"alembic_version"}
    assert db(each_url, "upgrade").returncode == 0
    assert db(each_url, "check").returncode == 0


def test_two_processes_that_migrate_at_once_do_not_collide(each_url: str) -> None:
    if not each_url.startswith("postgresql"):
        pytest.skip("SQLite: one process per file")
    command = [sys.executable, "-m", "app", "db", "upgrade"]
    env = {**os.environ, "PYTHONPATH": "src", "DATABASE_URL": each_url}
    both = [subprocess.Popen(command, cwd=PROJECT, env=env) for _ in range(2)]

    assert [process.wait(300) for process in both] == [0, 0]


@pytest.mark.skipif(not BRANCHES, reason="no module here has migrations")
def test_what_is_waiting_is_shown_and_fails_the_check(each_url: str) -> None:
    current, check = db(each_url, "current"), db(each_url, "check")

    assert "waiting: app db upgrade" in current.stdout
    assert check.returncode == 1
    assert "app db upgrade" in check.stderr


@pytest.mark.skipif(not BRANCHES, reason="no module here has migrations")
def test_production_does_not_start_on_a_schema_that_is_behind(each_url: str) -> None:
    start = (
        "import asyncio\n"
        "from app.core.container import build_container\n"
        "from app.core.discovery import Registry, discover\n"
        "from app.core.lifecycle import Lifecycle\n"
        "from app.core.settings import load_settings\n"
        "registry = Registry(tuple(m for m in discover().modules if m.name == 'database'))\n"
        "settings = load_settings(registry.modules)\n"
        "container = build_container(registry, settings)\n"
        "async def main():\n"
        "    from app.infrastructure.database.module import start\n"
        "    await start(container)\n"
        "asyncio.run(main())\n"
    )
    env = {**os.environ, "PYTHONPATH": "src", "DATABASE_URL": each_url, "APP_ENV": "production"}
    done = subprocess.run(
        [sys.executable, "-c", start],
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "is behind" in done.stderr
    assert "app db upgrade" in done.stderr


def test_a_revision_nobody_knows_says_what_to_do(each_url: str) -> None:
    db(each_url, "upgrade")

    async def stamp() -> None:
        database = Database.from_settings(
            database_settings(each_url), app_settings(), SystemClock()
        )
        async with database.unit_of_work() as session:
            await session.execute(
                text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32))")
            )
            await session.execute(text("INSERT INTO alembic_version VALUES ('gone_0001')"))
        await database.dispose()

    asyncio.run(stamp())
    done = db(each_url, "upgrade")

    assert done.returncode == 1
    assert "gone_0001" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of this service to write into."""
    copy = tmp_path / "project"
    ignore = shutil.ignore_patterns("__pycache__", "var", "*_cache")
    for part in ("src", "migrations"):
        shutil.copytree(PROJECT / part, copy / part, ignore=ignore)
    shutil.copy(PROJECT / "ruff.toml", copy)
    return copy


MODELS = """
from sqlalchemy.orm import Mapped
from app.infrastructure.database import Entity

class Note(Entity):
    __tablename__ = "notes"
    text: Mapped[str]
"""
MODULE = """
from app.core.module import Module
module = Module(name="notes", summary="made by a test", requires=("database",))
"""


def test_a_revision_is_written_from_the_models_of_its_module(each_url: str, project: Path) -> None:
    folder = project / "src/app/modules/notes"
    folder.mkdir(parents=True)
    (folder / "models.py").write_text(MODELS, encoding="utf-8")
    (folder / "module.py").write_text(MODULE, encoding="utf-8")
    db(each_url, "upgrade", cwd=project)

    first = db(each_url, "revision", "--module", "notes", "-m", "create notes", cwd=project)
    assert first.returncode == 0, first.stderr
    upgraded = db(each_url, "upgrade", cwd=project)
    (folder / "models.py").write_text(MODELS + "    stars: Mapped[int]\n", encoding="utf-8")
    second = db(each_url, "revision", "--module", "notes", "-m", "add stars", cwd=project)

    assert upgraded.returncode == 0, upgraded.stderr
    files = sorted(p.name for p in (project / "migrations/versions/notes").glob("*.py"))
    assert files == ["notes_0001_create_notes.py", "notes_0002_add_stars.py"], second.stderr
    text = (project / "migrations/versions/notes" / files[1]).read_text(encoding="utf-8")
    assert 'down_revision = "notes_0001"' in text
    assert "stars" in text
    assert "users" not in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["seed"], "run `app db upgrade` first"),
        (["revision", "--module", "database", "-m", "x"], "run `app db upgrade` first"),
        (["downgrade", f"{BRANCHES[0]}@-1"], "to go back to: see `app db current`"),
    ]
    if BRANCHES
    else [],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_before_the_first_migration_it_says_what_to_do(
    each_url: str, words: list[str], sentence: str
) -> None:
    done = db(each_url, *words)

    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_revision_of_an_unknown_module_names_the_known_ones(each_url: str) -> None:
    done = db(each_url, "revision", "--module", "nonsense", "-m", "x")

    assert done.returncode == 1
    assert "database" in done.stderr
    assert "Traceback" not in done.stderr
