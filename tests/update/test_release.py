"""`make release` writes a version down everywhere, keeps the release for later tests, and tags."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts import release, releases
from scripts.console import CommandError
from scripts.releases import git
from tests.rendering import ROOT
from tests.update.services import DAY, Small

CHANGELOG = "# Changelog\n\n## Unreleased\n\nNew things.\n\n## 1.0.0 · 2026-01-01\n\nThe first.\n"
CHANGES = """
behaviour:
  - release: unreleased
    text: unreleased things
  - {release: "1.0.0", text: a}
"""


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """A repository like this one, after its first release."""
    template = Small.begin(tmp_path / "template", "")
    template.write("CHANGELOG.md", CHANGELOG)
    template.write(release.CHANGES, CHANGES)
    shutil.copytree(releases.RECORDED, template.folder / releases.RECORDED.relative_to(ROOT))
    template.publish("v1.0.0")
    return template


@pytest.mark.parametrize("version", ["", "1.2", "v1.2.3", "1.2.3rc1", "01.2.3", "1.2.3.4"])
def test_only_a_version_of_three_numbers_is_a_release(version: str) -> None:
    """Copier passes over any other tag without saying so."""
    with pytest.raises(CommandError, match="is no version"):
        release.parsed(version)


def test_a_release_needs_a_clean_tree_a_higher_version_and_something_new(small: Small) -> None:
    release.refuse("1.1.0", small.folder, ["v1.0.0", "not-a-version"])
    with pytest.raises(CommandError, match=r"1\.0\.0 is not above 1\.0\.0"):
        release.refuse("1.0.0", small.folder, ["v1.0.0"])
    small.write("new.txt", "")
    with pytest.raises(CommandError, match="commit or stash first"):
        release.refuse("1.1.0", small.folder, ["v1.0.0"])
    small.write("CHANGELOG.md", CHANGELOG.replace("New things.\n", ""))
    small.publish("v1.0.1")
    with pytest.raises(CommandError, match="nothing under Unreleased"):
        release.refuse("1.1.0", small.folder, ["v1.0.0"])


def test_the_version_is_written_where_it_said_unreleased(small: Small) -> None:
    release.stamp(small.folder, "1.1.0", DAY)

    changelog = (small.folder / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## Unreleased\n\n## 1.1.0 · 2026-01-01\n\nNew things.\n" in changelog
    changes = (small.folder / release.CHANGES).read_text(encoding="utf-8")
    assert '- release: "1.1.0"\n    text: unreleased things' in changes


def test_a_release_is_committed_tagged_and_kept_to_the_byte(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in releases.NOBODY.items():
        monkeypatch.setenv(name, value)

    release.release("1.1.0", small.folder)

    assert git(small.folder, "status", "--porcelain") == b""
    assert git(small.folder, "describe").decode().strip() == "v1.1.0"
    kept = small.folder / releases.RECORDED.relative_to(ROOT)
    assert releases.versions(kept)[-1] == "v1.1.0"
    restored = releases.restore(tmp_path / "restored", kept)
    listing = ("ls-tree", "-r", "v1.1.0", "--", *releases.PARTS)
    assert git(restored, *listing) == git(small.folder, *listing)


def test_the_recorded_releases_stay_small() -> None:
    """Patches, not copies: together below a megabyte; forget the oldest when they grow."""
    assert sum(path.stat().st_size for path in releases.RECORDED.glob("*")) < 1_000_000
