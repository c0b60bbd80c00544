"""Render the template as it stands in the working tree, once per set of answers and session."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import copier

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("copier.yml", "includes", "template")
"""What Copier reads of the repository."""
Answers = Mapping[str, object]

TESTED = ("src", "tests", "migrations", "pytest.ini")
"""What decides whether a service's own tests pass."""
FOREIGN = ("APP_", "DATABASE_", "DB_", "REDIS_", "RABBITMQ_", "MAIL_", "TEST_", "PYTEST_", "COV_")
"""Beginnings of variables that would change how a generated service behaves."""
SHARED_SERVERS = {"TEST_POSTGRES_URL", "TEST_RABBITMQ_URL"}
"""Servers for those tests that want one in any case."""


def export(destination: Path, parts: Sequence[str] = PARTS) -> Path:
    """Copy what Copier reads to a folder without git, uncommitted changes included.

    From a working tree with changes Copier would make a commit of them for every rendering.
    """
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *parts]
    found = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, os.fsdecode(found).split("\0")):
        if (ROOT / name).is_file():  # not one that was deleted and is still listed
            target = destination / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    return destination


def copy(source: Path, destination: Path, answers: Answers, *, pretend: bool = False) -> Answers:
    """Let Copier write a service; return all answers it used.

    Raises:
        ValueError: an answer is refused; the message is the validator's.
    """
    worker: Any = copier.run_copy(
        str(source), destination, data=dict(answers), defaults=True, quiet=True, pretend=pretend
    )
    used: Answers = worker.answers.combined
    return used


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold a lock between the processes of a test run."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def service_environment(**changes: str) -> dict[str, str]:
    """Return an environment in which nothing of the developer's reaches a service."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if name in SHARED_SERVERS or not name.startswith(FOREIGN)
    }
    if broker := clean.get("TEST_RABBITMQ_URL"):
        clean["RABBITMQ_URL"] = broker
    return {**clean, "PYTHONPATH": "src", "NO_COLOR": "1", **changes}


def run(argv: Sequence[str | Path], cwd: Path, env: Mapping[str, str]) -> str:
    """Run a command; return what it prints, on both streams.

    Raises:
        AssertionError: it fails; with what it printed.
    """
    done = subprocess.run(
        [str(part) for part in argv],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    command = " ".join(map(str, argv))
    assert done.returncode == 0, f"`{command}` exits {done.returncode} in {cwd}\n{done.stdout}"
    return done.stdout


BRIEFLY = (
    "-m",
    "not slow",
    "--ignore=tests/infrastructure/queue/test_contract.py",
    "--ignore=tests/infrastructure/deferred/test_replay.py",
    "--ignore=tests/infrastructure/compute/test_calls.py",
)
"""Leaves out those of a service's own tests that are the same in each service, and take long."""
BRIEF_TESTS = ("pytest", "-q", "-p", "no:cacheprovider", *BRIEFLY)
SERVICE_TESTS = (
    *("pytest", "-q", "-p", "no:cacheprovider", "--no-header", "-m", "not slow"),
    *("--deselect=tests/infrastructure/", "--deselect=tests/cli/"),
)
"""Imports every test, and runs those that look at a service as a whole: its API, features,
architecture and core; not what looks at one building block or at the command line alone."""
FEW_EXAMPLES = {"PROPERTY_EXAMPLES": "5"}
"""Where a service's tests run again and again, the made-up requests need not all be made."""


@dataclass(frozen=True, slots=True)
class Service:
    """A rendered service. Tests that share one must not change it: `copied_to` gives an own one."""

    folder: Path

    def python(self, *words: str | Path, **env: str) -> str:
        """Run a Python command in the service with this environment's packages."""
        return run([sys.executable, *words], self.folder, service_environment(**env))

    def files(self) -> list[Path]:
        """Return the service's files, relative to its folder, without what running it leaves."""
        found = (path.relative_to(self.folder) for path in self.folder.rglob("*"))
        return sorted(
            path
            for path in found
            if (self.folder / path).is_file()
            and not {"__pycache__", "var", ".venv"} & set(path.parts)
            and not any(part.endswith("_cache") for part in path.parts)
        )

    def code(self) -> str:
        """Return a digest of its code, tests and migrations, by which services are alike."""
        digest = hashlib.sha256()
        for path in self.files():
            # What it is called is in one data file, and nothing else depends on it.
            if path.parts[0] in TESTED and path.name != "project.toml":
                digest.update(f"{path}\0".encode() + (self.folder / path).read_bytes())
        return digest.hexdigest()[:12]

    def copied_to(self, destination: Path) -> Service:
        """Return a copy that may be changed."""
        shutil.copytree(self.folder, destination)
        return Service(destination)


@dataclass(frozen=True, slots=True)
class Template:
    """The exported template, and where what is rendered from it is kept."""

    source: Path
    shelf: Path

    def service(self, answers: Answers) -> Service:
        """Return the service these answers make; rendered once, whichever process asks first."""
        key = hashlib.sha256(json.dumps(answers, sort_keys=True).encode()).hexdigest()[:12]
        folder = self.shelf / key
        with alone(self.shelf / f"{key}.lock"):
            if not folder.exists():
                copy(self.source, folder, answers)
        return Service(folder)
