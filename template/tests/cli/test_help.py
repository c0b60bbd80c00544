"""Help is quick: it imports none of the parts it tells of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.groups import declared_groups
from app.core.errors import ConfigurationError
from app.core.folders import module_folders
from tests.cli.conftest import Run, environment

HEAVY = {"fastapi", "pydantic", "sqlalchemy", "alembic", "redis", "dishka", "uvicorn", "loguru"}
SHOW_HELP = """
import json, sys
sys.argv = ["app", "--help"]
from app.cli import main
try:
    main()
except SystemExit:
    pass
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def test_the_help_lists_every_command_and_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW_HELP],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    for name in ("dev", "serve", "modules", "env", "new", *(g.name for g in declared_groups())):
        assert f" {name} " in done.stdout
    assert not HEAVY & set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.slow
def test_every_group_of_a_module_shows_its_commands(command: Run) -> None:
    for group in declared_groups():
        done = command(group.name, "--help")
        assert done.returncode == 0
        assert group.help in done.stdout
        assert "Options" in done.stdout


def test_each_folder_with_commands_is_read() -> None:
    read = {group.target.rpartition(".")[0].rpartition(".")[2] for group in declared_groups()}
    assert read == {folder.name for folder in module_folders(having="commands.py")}


@pytest.mark.parametrize("source", ["", "import typer\napp = typer.Typer(name=str())\n"])
def test_a_group_without_literal_texts_is_refused(tmp_path: Path, source: str) -> None:
    (tmp_path / "commands.py").write_text(source, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=r"must hold app = typer\.Typer"):
        list(declared_groups([tmp_path]))


def test_an_unknown_command_is_a_usage_error(command: Run) -> None:
    done = command("nonsense")

    assert done.returncode == 2
    assert "No such command" in done.stderr


def test_an_error_of_configuration_is_one_message(command: Run) -> None:
    done = command("modules", LOG_LEVEL="LOUD", APP_ENV="nowhere")
    checked = command("serve", APP_ENV="nowhere")

    assert done.returncode == 0  # listing modules needs no settings
    assert checked.returncode == 1
    assert "APP_ENV" in checked.stderr
    assert "Traceback" not in checked.stderr
