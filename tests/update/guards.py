"""What a change of the template may do to services that exist: complaints, each with its way out.

The rules are in CONTRIBUTING.md, "Rename, remove or move anything".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined, UndefinedError

from scripts.releases import git
from tests.matrix import choices
from tests.update.services import changes_of

Config = Mapping[str, Any]
JINJA = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 - not for a browser
SETTING = re.compile(r"^#([A-Z][A-Z0-9_]*)=", re.MULTILINE)


def config_at(repository: Path, release: str) -> dict[str, Any]:
    """Return copier.yml as a release has it."""
    loaded: dict[str, Any] = yaml.safe_load(git(repository, "show", f"{release}:copier.yml"))
    return loaded


def asked(config: Config) -> dict[str, dict[str, Any]]:
    """Return the questions of a copier.yml."""
    return {
        name: question
        for name, question in config.items()
        if not name.startswith("_") and question.get("when") is not False
    }


def settings_at(repository: Path, release: str) -> set[str]:
    """Return the names of all settings of a release."""
    names = git(repository, "ls-tree", "-r", "--name-only", release, "includes/env").split()
    texts = (git(repository, "show", f"{release}:{name.decode()}").decode() for name in names)
    return {name for text in texts for name in SETTING.findall(text)}


def in_service(path: str) -> str:
    """Return where a file of the template is in a service."""
    return path.removeprefix("template/").removesuffix(".jinja")


def unknown_questions(then: Config, now: Config) -> list[str]:
    """Complain about exclusions that can't be rendered with a release's answers."""
    known = {
        name: [] if question.get("multiselect") else "" for name, question in asked(then).items()
    }
    complaints = []
    for entry in now["_exclude"]:
        try:
            JINJA.from_string(entry).render(known)
        except UndefinedError as error:
            first = entry.strip().splitlines()[0]
            way_out = "begin it with `question is defined and`"
            complaints.append(f"`{first}` ends updates from there: {error}; {way_out}")
    return complaints


def lost_files(repository: Path, then: str, now: str, exclude: Iterable[str]) -> list[str]:
    """Complain about paths that vanish without being declared moved or removed."""
    words = ["diff", "-z", "--name-status", "--find-renames=50%", then, now, "--", "template"]
    fields = iter(git(repository, *words).decode().split("\0"))
    declared = changes_of(repository)
    moved = {(entry["from"], entry["to"]) for entry in declared["moved"]}
    removed = [entry["path"] for entry in declared["removed"]]
    complaints = []
    for kind in filter(None, fields):
        old, new = in_service(next(fields)), ""
        if kind.startswith("R"):
            new = in_service(next(fields))
        if old == new or kind[0] not in "RD":
            continue
        if any(f"{old}/".startswith(f"{path}/") for path in removed):
            continue
        entry = f"`moved: from {old} to {new}`" if new else f"`removed: {old}`"
        if (old, new) not in moved:
            complaints.append(f"{old} vanishes: declare {entry} in includes/changes.yml")
        elif f"/{old}" not in exclude:
            complaints.append(f"{old} moved: exclude /{old} in copier.yml, so that it stays")
    return complaints


def lost_questions(then: Config, now: Config, declared: Mapping[str, Any]) -> list[str]:
    """Complain about questions and choices that are gone, and about renames that forget."""
    entries = {entry["from"]: entry.get("to") for entry in declared["questions"]}
    complaints = []
    for name, question in asked(then).items():
        heir = entries.get(name, name)
        if heir is None:
            continue
        if heir not in asked(now):
            complaints.append(f"question {name} is gone: declare it under `questions`")
            continue
        if heir != name and not re.search(rf"\b{name}\b", str(asked(now)[heir]["default"])):
            complaints.append(f"{heir} forgets the answer of {name}: begin its default with it")
        gone = set(choices(question)) - set(choices(asked(now)[heir]))
        complaints += [
            f"choice {name}={choice} is gone, and its service gets the default: keep it"
            for choice in sorted(gone)
        ]
    return complaints


def lost_settings(then: set[str], now: set[str], former: set[str], declared: Config) -> list[str]:
    """Complain about settings nobody reads any more."""
    gone = then - now - former - {entry["name"] for entry in declared["settings"]}
    return [
        f"{name} is no longer read: rename it with FormerName, or declare it under `settings`"
        for name in sorted(gone)
    ]
