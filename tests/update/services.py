"""Repositories with releases, services made from them, and updates of those."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import copier
import yaml

from scripts import release, releases
from scripts.releases import git
from tests import rendering
from tests.questionnaire import recorded
from tests.rendering import ROOT

RECORDED = releases.versions()
"""The releases to come from, the oldest first."""
_MAJOR, _MINOR, _ = release.parsed(RECORDED[-1].removeprefix("v"))
PRESENT = f"v{_MAJOR}.{_MINOR + 1}.0"
"""What the working tree is called as a release."""
DAY = dt.date(2026, 1, 1)
MARKER = b"<<<<<<< "
PAYLOAD = str(ROOT / "template" / "src")
"""Where `python -m app` is found for a service that is too small to have it."""


def build(folder: Path) -> Path:
    """Make a repository of every recorded release and of the working tree, as `PRESENT`."""
    repository = releases.restore(folder)
    source = rendering.export(folder.with_name("present"))
    releases.replace_tree(repository, source)
    release.stamp(repository, PRESENT.removeprefix("v"), DAY)
    releases.publish(repository, PRESENT)
    return repository


def generate(repository: Path, service: Path, tag: str, answers: Mapping[str, Any]) -> Path:
    """Copy a release and commit the service."""
    copier.run_copy(
        str(repository), service, data=dict(answers), vcs_ref=tag, defaults=True, quiet=True
    )
    git(service, "init", "--quiet", "--initial-branch=main")
    commit(service, "Generated")
    return service


def commit(service: Path, message: str) -> None:
    """Commit everything in a service."""
    git(service, "add", "--all")
    git(service, "commit", "--quiet", "--allow-empty", "--message", message)


def update(service: Path, **options: Any) -> float:
    """Update as `copier update --defaults` does, without `--trust`; return the seconds it took."""
    begun = time.monotonic()
    copier.run_update(service, defaults=True, overwrite=True, **{"quiet": True, **options})
    return time.monotonic() - begun


def files(service: Path) -> dict[str, bytes]:
    """Return what is in a service, git's own and what running it leaves aside."""
    names = git(service, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split(
        b"\0"
    )
    found = {name.decode(): service / name.decode() for name in names if name}
    return {name: path.read_bytes() for name, path in found.items() if path.is_file()}


def touched(service: Path, since: str) -> set[str]:
    """Return the files somebody added, changed or removed since a commit."""
    words = ["diff", "-z", "--name-only", "--no-renames", since, "HEAD"]
    return {name.decode() for name in git(service, *words).split(b"\0") if name}


def first_commit(service: Path) -> str:
    """Return the commit of the service as it was generated."""
    return git(service, "rev-list", "--max-parents=0", "HEAD").decode().strip()


def answers_of(service: Path) -> dict[str, Any]:
    """Return the answers a service remembers, without Copier's own."""
    return {name: value for name, value in recorded(service).items() if not name.startswith("_")}


def marked(service: Path) -> set[str]:
    """Return the files that hold a conflict marker."""
    return {
        name
        for name, text in files(service).items()
        if any(line.startswith(MARKER) for line in text.splitlines())
    }


@dataclass(frozen=True, slots=True)
class Small:
    """A template of few files, quick to copy, with this template's questions or with others."""

    folder: Path

    @classmethod
    def begin(cls, folder: Path, config: str) -> Small:
        """Make one with a record of the answers and a file of forty lines."""
        small = cls(folder)
        (folder / "template").mkdir(parents=True)
        git(folder, "init", "--quiet", "--initial-branch=main")
        small.write("copier.yml", f"_subdirectory: template\n{config}")
        record = "{{ _copier_answers | to_nice_yaml }}"
        small.write("template/{{_copier_conf.answers_file}}.jinja", record)
        small.write("template/lines.txt", "".join(f"{number}\n" for number in range(40)))
        return small

    @classmethod
    def like_this(cls, folder: Path, changes: str) -> Small:
        """Make one with this template's questions and messages."""
        small = cls.begin(folder, "")
        included = ("includes/pins", "template/src/app/cli/moved.json.jinja", "copier.yml")
        for place in included:
            found = sorted((ROOT / place).glob("*")) or [ROOT / place]
            for path in found:
                small.write(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
        small.write(release.CHANGES, changes)
        return small

    def write(self, path: str, text: str) -> None:
        """Write a file of the template."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text, encoding="utf-8")

    def change(self, path: str, old: str, new: str) -> None:
        """Replace a text in a file of the template."""
        text = (self.folder / path).read_text(encoding="utf-8")
        assert old in text
        self.write(path, text.replace(old, new, 1))

    def publish(self, tag: str) -> None:
        """Release what it is now."""
        releases.publish(self.folder, tag)

    def service(self, folder: Path, tag: str, **answers: Any) -> Path:
        """Make a service of a release."""
        return generate(self.folder, folder, tag, answers)


def change(service: Path, path: str, old: str, new: str) -> None:
    """Replace a text in a file of a service."""
    text = (service / path).read_text(encoding="utf-8")
    assert old in text, f"{path} has no {old!r}"
    (service / path).write_text(text.replace(old, new, 1), encoding="utf-8")


def changes_of(folder: Path) -> dict[str, Any]:
    """Return what `includes/changes.yml` says."""
    loaded: dict[str, Any] = yaml.safe_load((folder / release.CHANGES).read_text(encoding="utf-8"))
    return loaded


def copied(service: Path, target: Path) -> Path:
    """Return a copy that may be changed."""
    shutil.copytree(service, target, symlinks=True)
    return target


def run(service: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a service as a user does; return how it ended and what it printed."""
    clean = {**rendering.service_environment(**env), **releases.NOBODY}
    return subprocess.run(
        words, cwd=service, env=clean, capture_output=True, text=True, check=False
    )
