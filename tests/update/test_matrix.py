"""Recorded release, preset, people's edits: whatever the combination, nothing of theirs is lost."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from scripts.releases import git
from tests import rendering
from tests.questionnaire import ANSWERS_FILE
from tests.rendering import BRIEF_TESTS, FEW_EXAMPLES, Service
from tests.update.edits import EDITS, WITHOUT_USERS, Case
from tests.update.services import (
    PRESENT,
    RECORDED,
    answers_of,
    commit,
    copied,
    files,
    first_commit,
    generate,
    marked,
    run,
    touched,
    update,
)

PRESETS = ("minimal", "standard", "full")
MINE = "the words of the user"
OTHERS = {"license": "Apache-2.0", "author_email": "team@example.com"}


def cases() -> Iterator[Case]:
    """Yield every combination; with the example deleted where the preset has it."""
    for release, preset in product(RECORDED, PRESETS):
        yield Case(release, {"preset": preset}, EDITS, {})
        if preset != "minimal":
            yield Case(release, {"preset": preset}, WITHOUT_USERS, OTHERS)


CASES = tuple(cases())
EACH_ONCE = (
    Case(RECORDED[0], {"preset": "full"}, EDITS, {}),
    Case(RECORDED[len(RECORDED) // 2], {"preset": "standard"}, WITHOUT_USERS, OTHERS),
    Case(RECORDED[-1], {"preset": "minimal"}, EDITS, {}),
)
"""Every release, preset and edit in some combination; all of them are `slow`."""
MOST_SECONDS = 600.0
"""This bounds a hang, it measures nothing."""


@dataclass(frozen=True, slots=True)
class Updated:
    """What became of a case."""

    case: Case
    service: Path
    fresh: Path
    """A copy of the present release with the same answers."""
    clash: str | None
    """The file in which both sides changed one line."""
    seconds: float


def clash_in(service: Path, fresh: Path) -> str | None:
    """Change a line of a page the template changes as well; return the page."""
    for path in sorted((service / "docs").glob("*.md")):
        name = str(path.relative_to(service))
        if not (fresh / name).exists():
            continue
        ours = path.read_text(encoding="utf-8").splitlines()
        theirs = (fresh / name).read_text(encoding="utf-8").splitlines()
        for kind, first, *_ in difflib.SequenceMatcher(None, ours, theirs).get_opcodes():
            if kind == "replace":
                ours[first] = MINE
                path.write_text("\n".join([*ours, ""]), encoding="utf-8")
                return name
    return None


def perform(case: Case, plinth: Path, shelf: Path) -> Updated:
    """Make the service, edit it, update it; and copy a fresh one to compare with."""
    service, fresh = shelf / "service", shelf / "fresh"
    generate(plinth, service, case.release, case.answers)
    generate(plinth, fresh, PRESENT, {**answers_of(service), **case.given})
    clash = clash_in(service, fresh)
    for edit in case.applicable(service):
        edit.apply(service)
    commit(service, "Edited")
    seconds = update(service, data=dict(case.given))
    return Updated(case, service, fresh, clash, seconds)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each case's tests to one process; the cases beyond each-once are slow."""
    if "updated" in metafunc.fixturenames:
        rows = [
            pytest.param(
                case,
                id=str(case),
                marks=[
                    pytest.mark.xdist_group(f"update-{case}"),
                    *([] if case in EACH_ONCE else [pytest.mark.slow]),
                ],
            )
            for case in CASES
        ]
        metafunc.parametrize("updated", rows, indirect=True)


@pytest.fixture
def updated(request: pytest.FixtureRequest, plinth: Path, shared: Path) -> Updated:
    """An updated service, made once. Tests must not change it."""
    case: Case = request.param
    shelf = shared / "releases" / str(case)
    with rendering.alone(shared / f"{case}.lock"):
        if not (shelf / "done.json").exists():
            shelf.mkdir(exist_ok=True)
            found = perform(case, plinth, shelf)
            (shelf / "done.json").write_text(json.dumps([found.clash, found.seconds]), "utf-8")
    clash, seconds = json.loads((shelf / "done.json").read_text("utf-8"))
    return Updated(case, shelf / "service", shelf / "fresh", clash, seconds)


def test_every_edit_is_still_there(updated: Updated) -> None:
    now = files(updated.service)
    for edit in updated.case.edits:
        for path, text in edit.kept.items():
            if text is None:
                assert path not in now, f"{edit.name}: {path} is back"
            elif edit.needs in now:
                assert text in now[path].decode(), f"{edit.name}: {path}"


def test_only_where_both_changed_one_line_is_there_a_marker(updated: Updated) -> None:
    """And nothing is set aside as a `.rej`."""
    assert marked(updated.service) == ({updated.clash} if updated.clash else set())
    assert [name for name in files(updated.service) if name.endswith(".rej")] == []


def test_both_sides_of_a_conflict_are_there_and_the_check_finds_it(updated: Updated) -> None:
    if not updated.clash:
        pytest.skip("the template changed no line of a page of this service")
    text = (updated.service / updated.clash).read_text(encoding="utf-8")
    assert MINE in text
    fresh = (updated.fresh / updated.clash).read_text(encoding="utf-8")
    told = run(updated.service, "python", "-m", "app", "template", "check")
    assert told.returncode == 1
    assert f"conflict: {updated.clash}:" in told.stdout
    _, _, theirs = text.partition("=======\n")
    assert theirs.partition("\n")[0] in fresh


def test_what_nobody_edited_is_what_a_fresh_copy_has(updated: Updated) -> None:
    """Byte for byte, and nothing is missing or left over."""
    now, fresh = files(updated.service), files(updated.fresh)
    edited = touched(updated.service, first_commit(updated.service))
    different = {name for name in now.keys() | fresh.keys() if now.get(name) != fresh.get(name)}
    assert different <= edited
    assert now[ANSWERS_FILE] == fresh[ANSWERS_FILE]


def test_no_answer_is_forgotten(updated: Updated) -> None:
    """Copier drops, without saying so, an answer a question no longer takes."""
    record = git(updated.service, "show", f"HEAD:{ANSWERS_FILE}").decode()
    (updated.service.parent / "before").mkdir(exist_ok=True)
    (updated.service.parent / "before" / ANSWERS_FILE).write_text(record, encoding="utf-8")
    before = answers_of(updated.service.parent / "before")
    assert answers_of(updated.service).items() >= {**before, **updated.case.given}.items()


def test_an_update_ends(updated: Updated) -> None:
    assert 0 < updated.seconds < MOST_SECONDS


@pytest.mark.slow
def test_the_updated_service_passes_its_own_checks(
    updated: Updated, tmp_path: Path, mypy_cache: Path
) -> None:
    """Lint, types, migrations and tests, after the conflict was settled for the template."""
    service = Service(copied(updated.service, tmp_path / "service"))
    if updated.clash:
        git(service.folder, "checkout", "--theirs", "--", updated.clash)
    if updated.case.edits is WITHOUT_USERS:  # what is new in the module they have deleted
        run(service.folder, "python", "-m", "app", "template", "check", "--merge")
    service.python("-m", "ruff", "format", "--check", ".")
    service.python("-m", "ruff", "check", ".")
    service.python("-m", "mypy", "--cache-dir", mypy_cache)
    if (service.folder / "migrations").exists():
        url = f"sqlite+aiosqlite:///{tmp_path / 'service.db'}"
        service.python("-m", "app", "db", "upgrade", DATABASE_URL=url)
        service.python("-m", "app", "db", "check", DATABASE_URL=url)
    service.python("-m", *BRIEF_TESTS, **FEW_EXAMPLES)
