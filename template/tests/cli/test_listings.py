"""`app modules` and `app env` tell what is here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.core.discovery import discover
from tests.cli.conftest import Run

pytestmark = pytest.mark.slow

STRONG = {
    "DATABASE_URL": "postgresql://shop:4f1d9c2b7a6e5f3081b2@db/shop",
    "REDIS_URL": "rediss://shop:4f1d9c2b7a6e5f3081b2@cache/0",
    "DOCS_ENABLED": "false",
    "MAIL_URL": "smtps://shop:4f1d9c2b7a6e5f3081b2@mail.example.com",
    "MAIL_FROM": "shop@example.com",
    "FILE_STORAGE_SECRETS": "8d0c5b7e4a1f29630b8e7d6c5f4a3b2c1d0e9f8a",
    "FILE_STORAGE_LOCAL_DURABLE": "true",
}


def test_modules_are_listed_in_start_order_with_what_they_add(command: Run) -> None:
    table = command("modules").stdout
    listed = json.loads(command("modules", "--json").stdout)

    assert [entry["name"] for entry in listed] == [module.name for module in discover().modules]
    for entry, module in zip(listed, discover().modules, strict=True):
        assert entry["requires"] == list(module.requires)
        assert module.name in table
    health = next(entry for entry in listed if entry["name"] == "health")
    assert "GET /health/ready" in health["adds"]["routes"]


def test_every_setting_is_shown_with_default_unit_and_meaning(command: Run) -> None:
    listed = json.loads(command("env", "--json").stdout)
    table = command("env").stdout

    names = {entry["name"] for entry in listed}
    for module in discover().modules:
        fields = [field for cls in module.settings_classes for field in cls.model_fields]
        assert {field.upper() for field in fields} <= names
    assert all(entry["description"] for entry in listed)
    grace = next(entry for entry in listed if entry["name"] == "SHUTDOWN_GRACE")
    assert (grace["default"], grace["unit"], grace["module"]) == ("30", "seconds", "api")
    assert "SHUTDOWN_GRACE  (30 seconds)" in table


def test_values_of_the_environment_are_not_shown(command: Run) -> None:
    for form in ((), ("--json",), ("--dotenv",)):
        assert "hunter2hunter2" not in command("env", *form, DOCS_PASSWORD="hunter2hunter2").stdout


def test_settings_of_one_module_alone(command: Run) -> None:
    done, wrong = command("env", "--module", "logger"), command("env", "--module", "nonsense")

    assert "LOG_LEVEL" in done.stdout
    assert "SHUTDOWN_GRACE" not in done.stdout
    assert wrong.returncode == 1
    assert "logger" in wrong.stderr


def test_the_dotenv_form_is_all_defaults(command: Run, tmp_path: Path) -> None:
    lines = command("env", "--dotenv").stdout.splitlines()
    variables = [line[1:] for line in lines if line.startswith("#") and line[1:2].isupper()]
    (tmp_path / "all.env").write_text("\n".join(variables), encoding="utf-8")

    done = command("env", "check", APP_ENV_FILE=str(tmp_path / "all.env"), **STRONG)

    assert (done.returncode, done.stdout) == (0, "Ready for production.\n")


def test_the_check_lists_each_weakness_with_its_fix(command: Run) -> None:
    done = command("env", "check", APP_ENV="development")

    assert done.returncode == 1
    assert "DOCS_ENABLED: everybody can read the docs. Fix: DOCS_ENABLED=false" in done.stdout
    for name in ("DATABASE_URL", "REDIS_URL"):
        known = name in command("env").stdout
        assert (name in done.stdout) is known


def test_the_check_finds_values_that_can_not_be_used(command: Run) -> None:
    values = {"LOG_LEVEL": "LOUD", "SHUTDOWN_GRACE": "soon", "KEEP_ALIVE": "inf"}
    done = command("env", "check", **values, **STRONG)

    assert done.returncode == 1
    for name in values:
        assert name in done.stdout


def test_a_dotenv_file_that_is_named_and_not_there_is_refused(command: Run) -> None:
    """Or a misspelt name would pass the check with nothing checked."""
    done = command("env", "check", APP_ENV_FILE="prodution.env", **STRONG)

    assert done.returncode == 1
    assert "APP_ENV_FILE names prodution.env, which is not there" in done.stderr


def test_the_check_finds_misspelt_names(command: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_LEVLE=DEBUG\nSOMETHING_ELSE=1\n", encoding="utf-8")

    done = command("env", "check", APP_ENV_FILE=".env", **STRONG)

    assert "LOG_LEVLE: no module knows this variable of .env. Fix: did you mean LOG_LEVEL?" in (
        done.stdout
    )
    assert "SOMETHING_ELSE" in done.stdout
