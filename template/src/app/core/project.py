"""What the service is called: written by the template into `project.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Project:
    """The project's own facts."""

    name: str
    """Lower case with hyphens; also the default key prefix and application name."""
    description: str
    version: str


@cache
def project() -> Project:
    """Read `app/project.toml`.

    The template's own payload runs without that file (it exists only as a Jinja source), under the
    name `app`.
    """
    path = Path(__file__).parents[1] / "project.toml"
    if not path.exists():
        return Project(name="app", description="A layered FastAPI service", version="0.1.0")
    return Project(**tomllib.loads(path.read_text(encoding="utf-8")))
