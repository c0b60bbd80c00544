"""After an update people read what behaves otherwise now, in the releases they crossed only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from copier import VcsRef

from tests.update.services import Small, commit, update

CHANGED = """
behaviour:
  - {release: unreleased, text: Not out yet}
  - {release: "0.10.0", text: Tenth}
  - {release: "0.9.0", text: Only for caches, parts: [bullmq, outbox]}
  - {release: "0.2.0", text: Second}
  - {release: "0.1.0", text: First}
moved: []
"""
TAGS = ("v0.1.0", "v0.2.0", "v0.9.0", "v0.10.0")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """The questions and messages of this template over a folder of few files, in five states."""
    template = Small.like_this(tmp_path_factory.mktemp("message") / "template", CHANGED)
    for tag in TAGS:
        template.write("template/release.txt", tag)
        template.publish(tag)
    template.write("template/release.txt", "on its way")
    commit(template.folder, "On its way")
    return template


def told(
    small: Small, folder: Path, capfd: pytest.CaptureFixture[str], since: str, **options: Any
) -> list[str]:
    """Update a service; return the behaviour it tells of."""
    service = small.service(folder / "service", since, **options.pop("answers", {}))
    capfd.readouterr()
    update(service, quiet=False, **options)
    printed = capfd.readouterr().err
    assert "uv run app template check" in printed
    assert "{" not in printed
    return [
        line.strip() for line in printed.splitlines() if line.startswith("    ") and ": " in line
    ]


@pytest.mark.parametrize(
    ("since", "to", "expected"),
    [
        ("v0.1.0", "v0.2.0", ["0.2.0: Second"]),
        ("v0.2.0", "v0.10.0", ["0.10.0: Tenth", "0.9.0: Only for caches"]),
        ("v0.9.0", "v0.10.0", ["0.10.0: Tenth"]),
        ("v0.9.0", VcsRef.CURRENT, []),
        ("v0.10.0", "main", ["unreleased: Not out yet"]),
    ],
)
def test_exactly_the_span_that_was_crossed(  # noqa: PLR0913, PLR0917 - a table
    small: Small,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    since: str,
    to: Any,
    expected: list[str],
) -> None:
    assert told(small, tmp_path, capfd, since, vcs_ref=to) == expected


def test_what_concerns_a_part_is_for_those_who_have_it(
    small: Small, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    answers = {"preset": "minimal"}
    assert told(small, tmp_path, capfd, "v0.2.0", answers=answers) == ["0.10.0: Tenth"]


def test_everything_is_told_where_an_answer_hides_the_record(
    small: Small, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`--data python_floor=…` with the update: too much rather than too little."""
    data = {"python_floor": "3.12"}
    found = told(small, tmp_path, capfd, "v0.9.0", data=data)
    assert found == ["0.10.0: Tenth", "0.9.0: Only for caches", "0.2.0: Second", "0.1.0: First"]


def test_a_fresh_copy_warns_of_nothing(small: Small, tmp_path: Path) -> None:
    """The record that is read on an update is not there yet; warnings are errors in these tests."""
    assert small.service(tmp_path / "service", "v0.1.0", python_floor="3.12").exists()
