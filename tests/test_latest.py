"""`make test-latest` finds what the caps allow and what they keep away."""

from __future__ import annotations

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import latest
from scripts.tools import ROOT


def test_a_requirement_loses_its_cap_only() -> None:
    capped = Requirement("uvicorn[standard]>=0.54,<0.55 ; sys_platform != 'win32'")

    free = latest.without_cap(capped)

    assert str(free) == 'uvicorn[standard]>=0.54; sys_platform != "win32"'
    assert str(capped.specifier) == "<0.55,>=0.54"


def test_what_is_newer_and_what_a_cap_keeps_away_are_told_apart() -> None:
    wanted = [Requirement("Typer>=0.29,<0.30"), Requirement("loguru>=0.7,<0.8")]
    old = {"typer": "0.29.1", "loguru": "0.7.3", "click": "8.5.1"}

    allowed = {"typer": "0.29.4", "loguru": "0.7.3", "click": "8.6.0", "rich": "15.1.0"}
    newest = {"typer": "0.30.0", "loguru": "0.7.3"}

    assert latest.moved(old, allowed) == ["click: 8.5.1 → 8.6.0", "typer: 0.29.1 → 0.29.4"]
    assert latest.held(wanted, newest) == ["Typer: 0.30.0 is out, <0.30,>=0.29 keeps it away"]


def test_every_requirement_of_the_template_is_pinned() -> None:
    """So that what is newer can be told of each."""
    names = {canonicalize_name(each.name) for each in latest.requirements()}
    assert names <= latest.pinned().keys()


def test_the_tests_are_run_by_what_runs_them_here() -> None:
    assert f'"{latest.RUNNER}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
