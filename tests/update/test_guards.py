"""No release may strand a service: what vanishes is declared, what is new asks first."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from packaging.version import Version

from scripts.release import CHANGES, VERSION, unreleased
from scripts.releases import git
from tests.rendering import ROOT, run, service_environment
from tests.update import guards
from tests.update.services import PRESENT, RECORDED, Small, changes_of

ASK = """
import json
from app.core.discovery import discover
from app.core.settings import former_names, settings_classes
classes = settings_classes(discover().modules)
print(json.dumps([name for cls in classes for name in former_names(cls)]))
"""
KEYS = {
    "behaviour": ({"release", "text"}, {"parts"}),
    "moved": ({"release", "from", "to"}, set()),
    "removed": ({"release", "path", "why"}, set()),
    "questions": ({"release", "from"}, {"to", "why"}),
    "settings": ({"release", "name", "why"}, set()),
}
"""What an entry of each list must and may say."""


@pytest.mark.parametrize("release", RECORDED)
def test_an_exclusion_asks_nothing_a_release_does_not_know(plinth: Path, release: str) -> None:
    then, now = guards.config_at(plinth, release), guards.config_at(plinth, PRESENT)
    assert guards.unknown_questions(then, now) == []


def test_no_path_vanishes_undeclared(plinth: Path) -> None:
    """Compared with the newest recorded release; the ones before were compared then."""
    exclude = guards.config_at(plinth, PRESENT)["_exclude"]
    assert guards.lost_files(plinth, RECORDED[-1], PRESENT, exclude) == []


@pytest.mark.parametrize("release", RECORDED)
def test_no_question_vanishes_undeclared(plinth: Path, release: str) -> None:
    then, now = guards.config_at(plinth, release), guards.config_at(plinth, PRESENT)
    assert guards.lost_questions(then, now, changes_of(plinth)) == []


@pytest.mark.parametrize("release", RECORDED)
def test_no_setting_vanishes_undeclared(plinth: Path, release: str) -> None:
    then, now = guards.settings_at(plinth, release), guards.settings_at(plinth, PRESENT)
    told = run([sys.executable, "-c", ASK], ROOT / "template", service_environment())
    former = set(json.loads(told.splitlines()[-1]))
    assert {"APP_ENV", "APP_NAME"} <= then & now
    assert guards.lost_settings(then, now, former, changes_of(plinth)) == []


# --- The guards themselves -----------------------------------------------------------------------

QUESTIONS = """
name: {type: str, default: orders}
parts: {type: str, multiselect: true, default: [], choices: [a, b]}
"""


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """A release, and a tree after it in which nothing vanished yet."""
    template = Small.begin(tmp_path / "template", QUESTIONS)
    template.write(CHANGES, "behaviour: []\nmoved: []\nremoved: []\nquestions: []\nsettings: []\n")
    template.write("includes/env/core.env", "# Help\n#LOG_LEVEL=INFO\n")
    template.publish("v1.0.0")
    return template


def declare(small: Small, kind: str, entry: str) -> None:
    small.change(CHANGES, f"{kind}: []", f"{kind}: [{{release: unreleased, {entry}}}]")


def test_a_renamed_file_is_noticed_until_it_is_declared_and_stays(small: Small) -> None:
    git(small.folder, "mv", "template/lines.txt", "template/numbers.txt")
    small.publish("v1.1.0")

    def find(*exclude: str) -> list[str]:
        return guards.lost_files(small.folder, "v1.0.0", "v1.1.0", exclude)

    assert find() == [
        "lines.txt vanishes: declare `moved: from lines.txt to numbers.txt` in includes/changes.yml"
    ]
    declare(small, "moved", "from: lines.txt, to: numbers.txt")
    assert find() == ["lines.txt moved: exclude /lines.txt in copier.yml, so that it stays"]
    assert find("/lines.txt") == []


def test_a_removed_file_is_noticed_until_it_is_declared(small: Small) -> None:
    git(small.folder, "rm", "--quiet", "template/lines.txt")
    small.publish("v1.1.0")

    found = guards.lost_files(small.folder, "v1.0.0", "v1.1.0", [])
    assert found == ["lines.txt vanishes: declare `removed: lines.txt` in includes/changes.yml"]
    declare(small, "removed", "path: lines.txt, why: nobody counted")
    assert guards.lost_files(small.folder, "v1.0.0", "v1.1.0", []) == []


def test_a_file_that_begins_to_be_rendered_has_not_vanished(small: Small) -> None:
    git(small.folder, "mv", "template/lines.txt", "template/lines.txt.jinja")
    small.publish("v1.1.0")

    assert guards.lost_files(small.folder, "v1.0.0", "v1.1.0", []) == []


def test_a_lost_question_or_choice_is_noticed_and_a_rename_takes_the_answer_along(
    small: Small,
) -> None:
    then = guards.config_at(small.folder, "v1.0.0")
    none = changes_of(small.folder)
    small.change(
        "copier.yml", "name: {type: str, default: orders}", "title: {type: str, default: orders}"
    )
    small.change("copier.yml", "[a, b]", "[a]")
    small.publish("v1.1.0")
    now = guards.config_at(small.folder, "v1.1.0")
    lost = "choice parts=b is gone, and its service gets the default: keep it"

    assert guards.lost_questions(then, now, none) == [
        "question name is gone: declare it under `questions`",
        lost,
    ]
    declare(small, "questions", "from: name, to: title")
    assert guards.lost_questions(then, now, changes_of(small.folder)) == [
        "title forgets the answer of name: begin its default with it",
        lost,
    ]


def test_an_exclusion_about_a_new_question_is_noticed(small: Small) -> None:
    then = guards.config_at(small.folder, "v1.0.0")
    entries = [
        "{% if cache is defined and not cache %}/a{% endif %}",
        "{% if not cache %}/b{% endif %}",
    ]

    (complaint,) = guards.unknown_questions(then, {"_exclude": entries})
    assert complaint.startswith("`{% if not cache %}/b{% endif %}` ends updates from there")


def test_a_lost_setting_is_noticed_unless_its_name_is_still_read(small: Small) -> None:
    then = guards.settings_at(small.folder, "v1.0.0")
    none: dict[str, list[object]] = {"settings": []}

    assert guards.lost_settings(then, {"LEVEL"}, set(), none) == [
        "LOG_LEVEL is no longer read: rename it with FormerName, or declare it under `settings`"
    ]
    assert guards.lost_settings(then, {"LEVEL"}, {"LOG_LEVEL"}, none) == []
    assert guards.lost_settings(then, set(), set(), {"settings": [{"name": "LOG_LEVEL"}]}) == []


# --- What is declared ----------------------------------------------------------------------------


def test_what_is_declared_is_complete_and_in_order() -> None:
    declared = changes_of(ROOT)
    assert declared.keys() == KEYS.keys()
    for kind, (must, may) in KEYS.items():
        releases = [entry["release"] for entry in declared[kind]]
        numbers = [Version(each) for each in releases if each != "unreleased"]
        assert numbers == sorted(numbers, reverse=True), kind
        for entry in declared[kind]:
            assert must <= entry.keys() <= must | may, entry
            assert entry["release"] == "unreleased" or VERSION.fullmatch(entry["release"]), entry


def test_a_moved_file_is_where_it_was_said_to_be() -> None:
    for entry in changes_of(ROOT)["moved"]:
        rendered = {entry["to"], f"{entry['to']}.jinja"}
        assert any((ROOT / "template" / path).exists() for path in rendered), entry
        assert not (ROOT / "template" / entry["from"]).exists(), entry


def test_the_changelog_says_how_each_release_behaves_otherwise() -> None:
    """Word for word, under the release's own heading."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = dict(
        re.findall(r"^## (\d[\d.]*)[^\n]*\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    )
    sections["unreleased"] = unreleased(changelog)
    for entry in changes_of(ROOT)["behaviour"]:
        told = " ".join(sections[entry["release"]].split())
        assert " ".join(entry["text"].split()) in told


def test_folders_beside_the_modules_are_named_like_them() -> None:
    """`app template` takes others that are new for remains of modules that were deleted."""
    payload = ROOT / "template"
    source = payload / "src/app"
    for layer in ("modules", "infrastructure"):
        tests = {path.name for path in (payload / "tests" / layer).iterdir() if path.is_dir()}
        assert tests - {"__pycache__"} <= {
            path.parent.name for path in source.glob(f"{layer}/*/__init__.py")
        }
    migrated = {path.name for path in (payload / "migrations/versions").iterdir() if path.is_dir()}
    assert migrated - {"__pycache__"} <= {
        path.parent.name for path in source.glob("*/*/__init__.py")
    }
