"""What must not get into the repository, and what must agree within it."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from packaging.version import Version

from tests.markdown import broken_links
from tests.rendering import ROOT

LARGEST = 300_000
"""Bytes."""
LOCK_FILES = {"uv.lock", "poetry.lock", "pdm.lock", "package-lock.json", "yarn.lock"}
REGISTRY = re.compile(
    r"""(index-url|registry|resolved)["']?\s*[=:]\s*["']?https?://"""
    r"|(files\.python"
    r"hosted|registry\.np"
    r"mjs)\."
    r"|pypi\.org/sim"
    r"ple"
)
HOME = re.compile(r"(?<![\w.$}])/(?:home|Users)/[a-z]\w*/")


@cache
def files() -> dict[str, str]:
    """Return the text of every file that is, or is about to be, in the repository."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout
    names = (os.fsdecode(name) for name in found.split(b"\0") if name)
    return {
        name: (ROOT / name).read_text(encoding="utf-8", errors="replace")
        for name in names
        if (ROOT / name).is_file()
    }


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}: {line.strip()[:120]}"
        for name, text in files().items()
        for line in text.splitlines()
        if pattern.search(line)
    ]


def test_no_address_of_a_registry() -> None:
    """Whoever installs chooses where from."""
    assert lines_with(REGISTRY) == []


def test_no_path_of_a_machine() -> None:
    assert lines_with(HOME) == []
    assert lines_with(re.compile(rf"{re.escape(str(ROOT))}\b")) == []


def test_no_lock_file() -> None:
    """Locks hold addresses; the versions tested are in includes/pins."""
    assert [name for name in files() if Path(name).name in LOCK_FILES] == []


def test_no_large_file() -> None:
    assert [name for name in files() if (ROOT / name).stat().st_size > LARGEST] == []


@pytest.mark.parametrize("folder", ["scripts", "tests", "benchmarks"])
def test_every_exception_to_a_rule_has_its_reason(folder: str) -> None:
    """As in the payload: `# noqa: RULE - why`."""
    bare = re.compile(r"# noqa(?!: [A-Z0-9, ]+ - \w)")
    found = [line for line in lines_with(bare) if line.startswith(f"{folder}/")]
    assert [line for line in found if not line.startswith("tests/test_hygiene.py")] == []


def test_changelog_begins_with_what_is_next_and_knows_every_release() -> None:
    """A release is a tag; services find their version by it, people find it in the changelog."""
    headings = re.findall(r"^## (\S+)", files()["CHANGELOG.md"], re.MULTILINE)
    tags = subprocess.run(["git", "tag"], cwd=ROOT, capture_output=True, text=True, check=True)
    released = [Version(heading) for heading in headings[1:]]
    assert headings[0] == "Unreleased"
    assert released == sorted(released, reverse=True)
    assert {Version(tag) for tag in tags.stdout.split()} <= set(released)


def test_links_lead_somewhere() -> None:
    """Pages of a service are looked at where they are rendered, in the matrix."""
    service = ("template/", "includes/")
    pages = [Path(n) for n in files() if n.endswith(".md") and not n.startswith(service)]
    assert pages
    assert broken_links(ROOT, pages) == []
