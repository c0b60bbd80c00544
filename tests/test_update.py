"""`copier copy` and `copier update` from a git repository, as users run them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.questionnaire import ANSWERS_FILE, TOOLS, contents, recorded
from tests.rendering import Template, copy, run

COPIER = TOOLS / "copier"
GIT = {
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
}

Command = Callable[..., str]


@pytest.fixture(scope="session")
def command() -> Command:
    """Run a command in a folder, nobody's git configuration in its environment."""
    env = {**os.environ, **GIT}
    return lambda folder, *words: run(list(words), folder, env)


@pytest.fixture
def repository(template: Template, tmp_path: Path, command: Command) -> Path:
    """The template as a git repository with one release."""
    folder = tmp_path / "plinth"
    shutil.copytree(template.source, folder)
    command(folder, "git", "init", "--quiet", "--initial-branch=main")
    release(folder, "v1.0.0", command)
    return folder


def release(folder: Path, tag: str, command: Command) -> None:
    """Commit everything and put a tag on it."""
    command(folder, "git", "add", "--all")
    command(folder, "git", "commit", "--quiet", "--message", tag)
    command(folder, "git", "tag", tag)


def generate(repository: Path, service: Path, command: Command, *options: str) -> Path:
    """Copy without `--trust` and commit."""
    words = ["copy", "--defaults", "--quiet", *options]
    command(repository, COPIER, *words, str(repository), str(service))
    command(service, "git", "init", "--quiet", "--initial-branch=main")
    command(service, "git", "add", "--all")
    command(service, "git", "commit", "--quiet", "--message", "Generated")
    return service


def append(path: Path, text: str) -> None:
    """Add text at the end of a file."""
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_update_brings_the_new_release_and_keeps_edits(
    repository: Path, tmp_path: Path, command: Command
) -> None:
    """Without `--trust`; the user's file, his edit and the template's change are all there."""
    service = generate(repository, tmp_path / "orders", command, "--data", "project_name=orders")
    append(service / "AGENTS.md", "- Ours.\n")
    (service / "src/app/modules/ours.py").write_text('"""Ours."""\n', encoding="utf-8")
    command(service, "git", "add", "--all")
    command(service, "git", "commit", "--quiet", "--message", "Ours")

    append(repository / "template/docs/modules.md", "\nNew in 1.1.\n")
    append(repository / "template/README.md.jinja", "\n{{ project_name }} 1.1\n")
    release(repository, "v1.1.0", command)
    command(service, COPIER, "update", "--defaults", "--quiet")

    assert recorded(service)["_commit"] == "v1.1.0"
    assert (service / "docs/modules.md").read_text(encoding="utf-8").endswith("New in 1.1.\n")
    assert (service / "README.md").read_text(encoding="utf-8").endswith("orders 1.1\n")
    assert (service / "AGENTS.md").read_text(encoding="utf-8").endswith("- Ours.\n")
    assert (service / "src/app/modules/ours.py").exists()
    changed = command(service, "git", "status", "--porcelain").split("\n")
    assert {line[3:] for line in changed if line} == {ANSWERS_FILE, "README.md", "docs/modules.md"}


def test_check_for_updates_notices_a_release(
    repository: Path, tmp_path: Path, command: Command
) -> None:
    """What CI runs: silent while there is none, exit code 2 afterwards; without `--quiet` never."""
    service = generate(repository, tmp_path / "orders", command, "--data", "project_name=orders")
    command(service, COPIER, "check-update", "--quiet")
    append(repository / "template/docs/modules.md", "\nNew in 1.1.\n")
    release(repository, "v1.1.0", command)
    assert "latest version is 1.1.0" in command(service, COPIER, "check-update")
    with pytest.raises(AssertionError, match="exits 2"):
        command(service, COPIER, "check-update", "--quiet")


def test_message_after_a_copy_has_the_next_commands(template: Template, tmp_path: Path) -> None:
    """They lead into the folder just made, and are those of its README."""
    target = tmp_path / "orders"
    words = [str(COPIER), "copy", "--defaults", str(template.source), str(target)]
    printed = run(words, tmp_path, {**os.environ, **GIT})
    for line in (f"cd {target}", "uv run app dev", "uv run pytest"):
        assert f"    {line}\n" in printed
    readme = (target / "README.md").read_text(encoding="utf-8")
    assert "    uv run app dev\n" in readme
    assert "    uv run pytest\n" in readme


def test_copy_twice_gives_the_same(template: Template, tmp_path: Path) -> None:
    """Nothing of the machine, the hour or the order of folders gets into a service."""
    first, second = tmp_path / "first", tmp_path / "second"
    copy(template.source, first, {})
    copy(template.source, second, {})
    assert contents(first) == contents(second)
