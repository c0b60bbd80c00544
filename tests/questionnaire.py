"""What the tests of questions and files share: copier.yml as it stands, and answers to try."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from tests.rendering import ROOT

TOOLS = Path(sys.executable).parent
"""Where the tools that check manifests are installed."""
ANSWERS_FILE = ".copier-answers.yml"
VARIANTS: dict[str, dict[str, Any]] = {
    "minimal": {"preset": "minimal"},
    "standard": {"preset": "standard"},
    "full": {"preset": "full"},
    "database": {"infrastructure": ["database"], "features": [], "ci": "gitlab"},
    "redis": {"infrastructure": ["redis"], "deployment": ["docker", "kubernetes"], "ci": "gitlab"},
    "bare": {"preset": "minimal", "deployment": ["docker", "kubernetes"], "ci": "github"},
}
"""Answers that between them hold every file, with and without each part."""


def load(path: Path) -> Any:
    """Return what a YAML file of one document holds."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def questions() -> dict[str, dict[str, Any]]:
    """Return the questions of copier.yml, without what is computed from their answers."""
    loaded = load(ROOT / "copier.yml")
    return {
        name: value
        for name, value in loaded.items()
        if not name.startswith("_") and value.get("when") is not False
    }


def settings() -> dict[str, Any]:
    """Return the settings of copier.yml, those that start with `_`."""
    loaded = load(ROOT / "copier.yml")
    return {name: value for name, value in loaded.items() if name.startswith("_")}


def recorded(service: Path) -> dict[str, Any]:
    """Return the answers a service remembers."""
    answers: dict[str, Any] = load(service / ANSWERS_FILE)
    return answers


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder but git's own, by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }
