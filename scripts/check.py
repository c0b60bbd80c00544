"""`make test`: set up what is needed, then run everything that is tested.

Every step runs, also after one that failed, so that one run shows all there is to mend. At the end
come the times, pytest's summary lines, and a search for anything left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from scripts import processes, servers
from scripts.console import CommandError, Outcome, Steps, say
from scripts.tools import CACHE, ROOT, VENV, ensure_environment, ensure_uv

PAYLOAD = ROOT / "template"
WORKERS = os.environ.get("WORKERS", "2")
SERVERS: Mapping[str, Callable[[Path], AbstractContextManager[str]]] = {
    "PostgreSQL": servers.postgres,
    "Redis": servers.redis,
    "RabbitMQ": servers.rabbitmq,
    "BullMQ for Node": servers.node_bullmq,
    "S3": servers.moto,
    "Azure Blob Storage": servers.azurite,
    "Chromium": servers.chromium,
}
"""What starts each, or installs it."""
PATIENCE = 10.0
"""Seconds. An embedded server ends by itself a moment after its last user."""
WITH_SERVERS = ("database", "redis", "queue", "outbox", "event_bus")
"""Parts of the infrastructure for which it matters which server is behind them."""
SUMMARY = re.compile(r"=+ (.*\bin [\d.]+s.*) =+$")
"""Pytest's closing line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One step: a few commands that share a folder and an environment."""

    name: str
    title: str
    commands: Sequence[Sequence[str]]
    cwd: Path = ROOT
    env: Mapping[str, str] = field(default_factory=dict)
    servers: Mapping[str, str] = field(default_factory=dict)
    """The variables that get the URL of a server of `SERVERS`, when it can be had."""
    only_with_servers: bool = False
    """Whether the step is skipped when none of them can be had."""
    on_request: bool = False
    """Whether the step runs only when it is named."""


def pytest(*words: str) -> list[str]:
    """Return the command that runs pytest on `WORKERS` processes, caches kept out of the tree."""
    options = ["-n", WORKERS, "-o", f"cache_dir={CACHE / 'pytest'}"]
    return ["python", "-m", "pytest", *options, *words]


CHECKS = (
    Check(
        name="lint",
        title="lint and format: the repository",
        commands=[["ruff", "check"], ["ruff", "format", "--check"]],
    ),
    Check(
        name="lint",
        title="lint and format: the payload",
        cwd=PAYLOAD,
        commands=[["ruff", "check"], ["ruff", "format", "--check"]],
    ),
    Check(name="types", title="types: the repository, mypy", commands=[["mypy"]]),
    Check(
        name="types",
        title="types: the payload, mypy",
        cwd=PAYLOAD,
        commands=[["mypy"], ["mypy", "tests"]],
    ),
    Check(
        name="types",
        title="types: the payload, pyright",
        cwd=PAYLOAD,
        commands=[["pyright", "--pythonpath", str(VENV / "bin" / "python")]],
    ),
    Check(
        name="imports",
        title="import contracts: the payload",
        cwd=PAYLOAD,
        commands=[["lint-imports", "--cache-dir", str(CACHE / "import-linter")]],
        env={"PYTHONPATH": "src"},
    ),
    Check(
        name="payload",
        title="payload tests: SQLite and embedded Valkey",
        cwd=PAYLOAD,
        commands=[pytest()],
        servers={
            "TEST_POSTGRES_URL": "PostgreSQL",
            "TEST_RABBITMQ_URL": "RabbitMQ",
            "NODE_BULLMQ": "BullMQ for Node",
            "TEST_S3_URL": "S3",
            "TEST_AZURE_URL": "Azure Blob Storage",
            "TEST_CHROMIUM": "Chromium",
        },
    ),
    Check(
        name="servers",
        title="payload tests: PostgreSQL and Redis servers",
        cwd=PAYLOAD,
        # Where these make a difference.
        commands=[
            pytest(
                *(f"tests/infrastructure/{part}" for part in WITH_SERVERS),
                "tests/modules",
                # They bring their servers along.
                "--ignore=tests/infrastructure/queue/test_faults.py",
                "--ignore=tests/infrastructure/queue/test_outages.py",
                "--ignore=tests/infrastructure/queue/rabbitmq",
            )
        ],
        servers={
            "TEST_DATABASE_URL": "PostgreSQL",
            "TEST_REDIS_URL": "Redis",
            "TEST_RABBITMQ_URL": "RabbitMQ",
        },
        only_with_servers=True,
    ),
    Check(
        name="template",
        title="template tests",
        commands=[pytest("-m", "not slow", "--dist", "loadgroup", "--durations", "15")],
        servers={"TEST_POSTGRES_URL": "PostgreSQL", "TEST_RABBITMQ_URL": "RabbitMQ"},
    ),
    Check(
        name="updates",
        title="template tests: every update and toggle",
        commands=[pytest("-m", "slow", "--dist", "loadgroup", "--durations", "15", "tests/update")],
        on_request=True,
    ),
)


def environment(temporary: Path) -> dict[str, str]:
    """Return what every step's environment adds: our tools first, all caches under `.cache`."""
    return {
        "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(VENV),
        "TMPDIR": str(temporary),
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(CACHE / "pycache"),
        "MYPY_CACHE_DIR": str(CACHE / "mypy"),
        "RUFF_CACHE_DIR": str(CACHE / "ruff"),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(CACHE / "hypothesis"),
        # Its wheel holds all it needs; without these it asks npm for newer versions.
        "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
        "PYRIGHT_PYTHON_CACHE_DIR": str(CACHE / "pyright"),
    }


def files_around(root: Path = ROOT) -> set[str]:
    """Return the files git does not track, ignored ones included, caches and tools left out."""
    listing = subprocess.run(
        ["git", "ls-files", "--others", "-z", "--", ".", ":!.venv", ":!.cache"],
        cwd=root,
        capture_output=True,
        check=False,
    )
    return {os.fsdecode(name) for name in listing.stdout.split(b"\0") if name}


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder for all temporary files of this run, removed at the end with their bytecode.

    Its path is short: a Unix socket's may not exceed 104 characters on macOS.
    """
    folder = Path(tempfile.mkdtemp(prefix="plinth-")).resolve()
    folder.chmod(0o755)  # PostgreSQL runs under another account when we are root
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(CACHE / "pycache" / folder.relative_to("/"), ignore_errors=True)


def start_servers(
    stack: contextlib.ExitStack, steps: Steps, folder: Path, names: Sequence[str]
) -> dict[str, str]:
    """Start servers until `stack` closes; return the URLs of those that could be had."""
    urls: dict[str, str] = {}
    for name in names:
        with contextlib.suppress(CommandError), steps.step(f"start {name}") as outcome:
            try:
                urls[name] = stack.enter_context(SERVERS[name](folder / name.lower()))
            except CommandError as error:
                if os.environ.get("CI"):
                    raise
                outcome.note = f"tests on it are skipped: {error}"
                say(f"  {outcome.note}", colour="red")
    return urls


def perform(check: Check, env: Mapping[str, str], outcome: Outcome) -> None:
    """Run one check's commands.

    Raises:
        CommandError: some failed.
    """
    failed = []
    for command in check.commands:
        say(f"  $ {' '.join(command)}", colour="dim")
        code, lines = processes.run(
            [VENV / "bin" / command[0], *command[1:]], cwd=check.cwd, env=env
        )
        closing = (found[1] for line in reversed(lines) if (found := SUMMARY.match(line)))
        outcome.note = next(closing, outcome.note)
        if code != 0:
            failed.append(f"`{' '.join(command[:3])}` exits {code}")
    if failed:
        raise CommandError("; ".join([*failed, outcome.note]).rstrip("; "))


def run_checks(steps: Steps, checks: Sequence[Check], temporary: Path) -> None:
    """Start the servers the checks need, run each check, stop the servers."""
    needed = sorted({name for check in checks for name in check.servers.values()})
    with contextlib.ExitStack() as stack:
        urls = start_servers(stack, steps, temporary, needed)
        for check in checks:
            given = {var: urls[name] for var, name in check.servers.items() if name in urls}
            if check.only_with_servers and not given:
                continue
            env = {**environment(temporary), **check.env, **given}
            with contextlib.suppress(CommandError), steps.step(check.title) as outcome:
                perform(check, env, outcome)


def look_for_leftovers(steps: Steps, before: set[str], root: Path = ROOT) -> None:
    """Fail when a process or a file is left that was not there before."""
    with contextlib.suppress(CommandError), steps.step("nothing left behind"):
        left = processes.wait_until_gone(PATIENCE)
        files = sorted(files_around(root) - before)
        found = [f"process {pid}: {command[:160]}" for pid, command in left.items()]
        found += [f"file {name}" for name in files[:20]]
        if found:
            message = "left behind:\n    " + "\n    ".join(found)
            raise CommandError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks named on the command line, or all; return the exit code."""
    names = list(dict.fromkeys(check.name for check in CHECKS))
    parser = argparse.ArgumentParser(prog="make test", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="step", help=f"one of: {', '.join(names)}")
    usual = {check.name for check in CHECKS if not check.on_request}
    chosen = parser.parse_args(argv).names or usual
    if unknown := sorted(set(chosen) - set(names)):
        parser.error(f"no step {', '.join(unknown)}: choose among {', '.join(names)}")
    steps = Steps()
    try:
        with processes.in_charge():
            before = files_around()
            with steps.step("set up: uv, .venv"):
                ensure_environment(ensure_uv())
            with temporary_folder() as temporary:
                run_checks(steps, [c for c in CHECKS if c.name in chosen], temporary)
            look_for_leftovers(steps, before)
    except CommandError:
        pass  # its step has said it
    except processes.StoppedError as signal:
        say(f"stopped by {signal}: everything that was started has been stopped", colour="red")
        return 130
    steps.report()
    return 1 if steps.failed else 0


if __name__ == "__main__":
    sys.exit(main())
