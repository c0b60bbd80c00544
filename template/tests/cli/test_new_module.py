"""`app new module` writes what passes lint, types and tests at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.groups import declared_groups
from app.cli.scaffolding import guess_singular
from tests.cli.conftest import PROJECT, Run, environment

PARTS = ("src", "tests", "migrations", "ruff.toml", "mypy.ini", "pytest.ini")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of this service to write into."""
    copy = tmp_path / "project"
    copy.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "var", "*_cache")
    for part in PARTS:
        if (PROJECT / part).is_dir():
            shutil.copytree(PROJECT / part, copy / part, ignore=ignore)
        elif (PROJECT / part).exists():
            shutil.copy(PROJECT / part, copy / part)
    return copy


def passes(project: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=project,
        env=environment(PYTHONPATH="src"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_new_module_works_at_once(command: Run, project: Path) -> None:
    # Long and short names wrap differently.
    for name in ("tax_exemption_certificates", "tea"):
        done = command("new", "module", name, cwd=project, PYTHONPATH="src")
        assert done.returncode == 0, done.stderr

    passes(project, "ruff", "check", ".")
    passes(project, "ruff", "format", "--check", ".")
    passes(project, "mypy")
    new = ["tests/modules/tax_exemption_certificates", "tests/modules/tea"]
    passes(project, "mypy", *new)
    passes(project, "pytest", "-q", "-p", "no:cacheprovider", *new)
    if any(group.name == "db" for group in declared_groups()):
        shutil.rmtree(project / "var", ignore_errors=True)
        passes(project, "app", "db", "upgrade")
        passes(project, "app", "db", "check")


@pytest.mark.parametrize(
    "name",
    ["Orders", "order-lines", "2fa", "_x", "class", "match", "users_", "tests", "api", "x" * 41],
)
def test_a_name_that_can_not_be_used_is_refused_with_a_sentence(
    command: Run, project: Path, name: str
) -> None:
    before = sorted(project.rglob("*"))

    done = command("new", "module", name, cwd=project, PYTHONPATH="src")

    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert sorted(path for path in project.rglob("*") if "__pycache__" not in path.parts) == [
        path for path in before if "__pycache__" not in path.parts
    ]


@pytest.mark.parametrize(
    ("name", "part", "sentence"),
    [
        ("pages", "database", "needs a class Page"),
        ("filters", "database", "needs a class Filter"),
        ("inbox", "outbox", "There is a table 'inbox' already"),
    ],
)
def test_a_name_that_would_hide_another_is_refused(
    command: Run, project: Path, name: str, part: str, sentence: str
) -> None:
    if not (project / "src/app/infrastructure" / part).exists():
        pytest.skip(f"there is no {part}")

    done = command("new", "module", name, cwd=project, PYTHONPATH="src")

    assert done.returncode == 1
    assert sentence in done.stderr
    assert not (project / "src/app/modules" / name).exists()


def test_a_second_module_of_one_name_is_refused(command: Run, project: Path) -> None:
    command("new", "module", "orders", cwd=project, PYTHONPATH="src")

    done = command("new", "module", "orders", cwd=project, PYTHONPATH="src")

    assert done.returncode == 1
    assert "'orders'" in done.stderr


@pytest.mark.parametrize(
    ("many", "one"),
    [
        ("invoices", "invoice"),
        ("categories", "category"),
        ("addresses", "address"),
        ("boxes", "box"),
        ("branches", "branch"),
        ("order_lines", "order_line"),
        ("stuff", "stuff_item"),
    ],
)
def test_the_singular_is_guessed(many: str, one: str) -> None:
    assert guess_singular(many) == one
