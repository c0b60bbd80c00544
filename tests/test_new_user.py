"""On a newcomer's machine: an empty folder, a clean environment, the README to the letter."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from scripts.servers import port_answers
from scripts.tools import ensure_uv
from tests.markdown import marked_commands
from tests.rendering import BRIEFLY, ROOT, Template, export, run
from tests.running import answers, running

DEFAULT_PORT = 8000
UNTIL_STOPPED = re.compile(r"\s+# until Ctrl-C\b.*$")
"""How a command line in the README says that it does not come back."""
NETWORK = ("SSL_", "UV_", "PIP_", "HTTP_", "HTTPS_", "NO_PROXY", "http_", "https_", "no_proxy")
"""Beginnings of variables that say how this machine reaches package registries."""


@pytest.fixture
def home() -> Iterator[Path]:
    """The folder of a new account.

    Not in pytest's folders: as root the embedded PostgreSQL runs as another user, from the
    service's own environment, and each new run of pytest closes pytest's folders to others.
    """
    with tempfile.TemporaryDirectory(prefix="user-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def machine(home: Path) -> dict[str, str]:
    """The environment of a new account. uv is installed, its cache is this machine's."""
    uv = ensure_uv()
    cache = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True)
    programs = [uv.parent, Path(sys.executable).resolve().parent, "/usr/local/bin", "/usr/bin"]
    kept = {name: value for name, value in os.environ.items() if name.startswith(NETWORK)}
    return {
        **kept,
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join(map(str, [*programs, "/bin"])),
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),  # noqa: S108 - the system's own default
        "UV_CACHE_DIR": cache.stdout.strip(),
    }


def published(folder: Path) -> Path:
    """Make the working tree a repository of its own, as it stands."""
    export(folder, ["."])
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com", "-C", str(folder)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "As it stands"]):
        subprocess.run([*git, *words], check=True)
    return folder


def script(commands: Sequence[str]) -> list[str]:
    return ["bash", "-euo", "pipefail", "-c", "\n".join(commands)]


def test_the_readme_s_commands_work(machine: dict[str, str], home: Path, tmp_path: Path) -> None:
    """Up to the one that serves; then, while it serves, those after it."""
    if port_answers(DEFAULT_PORT):
        reason = f"port {DEFAULT_PORT} is in use, and it is the one the README names: free it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = marked_commands(text, "new-user")
    serving = [i for i, command in enumerate(commands) if UNTIL_STOPPED.search(command)]
    assert len(serving) == 1, commands
    before, after = commands[: serving[0]], commands[serving[0] + 1 :]
    serve = UNTIL_STOPPED.sub("", commands[serving[0]])
    machine["PLINTH"] = str(published(tmp_path / "published"))
    machine["PYTEST_ADDOPTS"] = shlex.join(BRIEFLY)
    here = home / "empty"
    here.mkdir()
    # The last line keeps the folder the ones before it went to, and takes the shell's place.
    with running(script([*before, f"exec {serve}"]), here, machine, tmp_path / "log") as server:
        server.wait_until(lambda: answers(f"http://127.0.0.1:{DEFAULT_PORT}/health/ready"))
        folders = [command for command in before if command.startswith("cd ")]
        run(script([*folders, *after]), here, machine)
        assert server.stop() == 0, server.printed()


@pytest.mark.parametrize(
    ("preset", "tests"),
    [
        ("minimal", "pytest -q"),
        # The README's commands run them for `standard`, which has the same modules.
        ("full", "pytest -q --collect-only"),
    ],
)
def test_generated_service_declares_what_it_needs(
    preset: str, tests: str, template: Template, machine: dict[str, str], home: Path
) -> None:
    """With nothing installed but its own requirements it runs and passes its tests and checks."""
    service = template.service({"preset": preset}).copied_to(home / "service")
    run(["uv", "sync", "--quiet"], service.folder, machine)
    for command in ("app --help", "ruff check .", "mypy", tests):
        run(["uv", "run", "--no-sync", *command.split()], service.folder, machine)
