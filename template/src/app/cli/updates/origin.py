"""Where the service comes from: what Copier recorded, and Copier itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.cli.updates.git import committed, git, run
from app.core.errors import ConfigurationError

ANSWERS = ".copier-answers.yml"
COPIER = "copier>=9.19,<10"
QUICK = Path(__file__).with_name("quick_copier.py")
REMOTE = re.compile(r"[a-z+]+://|g[hl]:|[\w.-]+@[\w.-]+:")
"""How an address begins that is not a folder's."""
SHORT = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}
"""Copier's short forms."""


def _command() -> list[str]:
    """Return the beginning of a command of Copier's, by the interpreter that has it."""
    here = shutil.which("copier")
    if here is None:
        return ["uvx", "--from", COPIER, "python", str(QUICK)]
    with Path(here).open("rb") as script:
        first = script.readline().decode(errors="replace").strip()
    interpreter = Path(first.removeprefix("#!"))
    if first.startswith("#!") and "python" in interpreter.name and interpreter.exists():
        return [str(interpreter), str(QUICK)]
    return [here]  # however it begins, it is Copier: only slower


@dataclass(frozen=True, slots=True)
class Versions:
    """A service's release of the template, and the newest one."""

    current: str
    newest: str
    available: bool
    """Whether the newest is newer."""


def field(record: str, name: str) -> str:
    """Return one of Copier's own fields of a record, or nothing."""
    found = re.search(rf"^{name}: *(.+?) *$", record, re.MULTILINE)
    return found[1].strip("'\"") if found else ""


@dataclass(frozen=True, slots=True)
class Origin:
    """The template of a service, and how to ask Copier for it."""

    folder: Path
    """The service."""
    source: str
    """The template's address as recorded."""
    release: str
    """The release the service has."""
    clone: Path | None = None
    """A clone to take instead of the address."""

    def copier(self, *words: str, folder: Path | None = None) -> str:
        """Run Copier, by default in the service; return all that it prints.

        Raises:
            ConfigurationError: it is not installed or fails; with what it said.
        """
        done = run(folder or self.folder, *_command(), *words, env=self._environment())
        printed = done.stderr + done.stdout
        if done.returncode != 0:
            last = printed.strip().splitlines()[-6:]
            message = "\n".join([f"`copier {words[0]}` failed:", *(f"  {line}" for line in last)])
            raise ConfigurationError(message)
        return printed

    def _environment(self) -> dict[str, str]:
        """Let git find the address in the clone, if there is one."""
        env = dict(os.environ)
        if self.clone is None:
            return env
        count = int(env.get("GIT_CONFIG_COUNT", "0"))
        address = self.source.removeprefix("git+")
        for short, full in SHORT.items():
            address = re.sub(f"^{short}", full, address)
        # The longest match wins, so both spellings are given.
        for number, spelling in enumerate((address, f"{address}.git"), count):
            env[f"GIT_CONFIG_KEY_{number}"] = f"url.{self.clone.resolve()}.insteadOf"
            env[f"GIT_CONFIG_VALUE_{number}"] = spelling
        env["GIT_CONFIG_COUNT"] = str(count + 2)
        return env

    def versions(self) -> Versions:
        """Ask the template for its newest release.

        Raises:
            ConfigurationError: it can't be reached, or has no release.
        """
        told = json.loads(self.copier("check-update", "--output-format", "json").splitlines()[-1])
        return Versions(told["current_version"], told["latest_version"], told["update_available"])

    @contextmanager
    def rendered(self, record: bytes) -> Iterator[Path]:
        """Render what a record says, as it was before anybody edited it, to a temporary folder."""
        with tempfile.TemporaryDirectory(prefix="template-") as temporary:
            answers, target = Path(temporary) / "answers.yml", Path(temporary) / "service"
            answers.write_bytes(record)
            words = ["copy", "--defaults", "--quiet", "--data-file", str(answers)]
            release = field(record.decode(), "_commit")
            self.copier(*words, "--vcs-ref", release, self.source, str(target), folder=self.folder)
            yield target

    def record_before(self) -> bytes | None:
        """Return the last committed record of another release or other answers, if there is one.

        While an update is not committed that is the one of the last commit.
        """
        present = (self.folder / ANSWERS).read_bytes()
        for commit in git(self.folder, "log", "--format=%H", "--", ANSWERS).split():
            record = committed(self.folder, ANSWERS, commit)
            if record is not None and record != present:
                return record
        return None


def origin(folder: Path, clone: Path | None = None) -> Origin:
    """Read what Copier recorded in a service's folder.

    Raises:
        ConfigurationError: there is no record, or one that can't be updated from.
    """
    path = folder / ANSWERS
    if not path.exists():
        message = f"{path} is missing: run this in the folder of a service made by the template"
        raise ConfigurationError(message)
    record = path.read_text(encoding="utf-8")
    source, release = field(record, "_src_path"), field(record, "_commit")
    if not release:
        message = (
            f"{ANSWERS} names no release: the service was made from a folder without git. "
            "Copy it again from the template's repository to get updates"
        )
        raise ConfigurationError(message)
    if not (REMOTE.match(source) or Path(source).expanduser().is_absolute()):
        message = (
            f"_src_path in {ANSWERS} is relative ({source}), and Copier can't update from it: "
            "write the template's address or absolute path there, commit, and run this again"
        )
        raise ConfigurationError(message)
    if clone and not REMOTE.match(source):
        message = f"--clone stands for an address, and this service's template is {source} itself"
        raise ConfigurationError(message)
    return Origin(folder, source, release, clone)


def answers(data: Sequence[str]) -> list[str]:
    """Return Copier's options for answers given as `question=answer`."""
    return [word for answer in data for word in ("--data", answer)]
