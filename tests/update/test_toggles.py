"""A part switched on later is the part of a fresh copy; switched off it leaves no trace.

What is optional follows from the questions in copier.yml; nothing is listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from copier import VcsRef

from scripts.releases import git
from tests.matrix import choices
from tests.questionnaire import questions
from tests.rendering import copy, export
from tests.update.services import PRESENT, answers_of, commit, files, generate, run, update

Answers = Mapping[str, Any]
FULL: Answers = {"preset": "full"}


def optional() -> list[tuple[str, str]]:
    """Return each choice of a question that may be left out, with its question."""
    return [
        (name, choice)
        for name, question in questions().items()
        for choice in choices(question)
        if question.get("multiselect") or choice == "none" or "none" in choices(question)
    ]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The questions alone, to ask Copier what it makes of answers."""
    folder = export(tmp_path_factory.mktemp("questions") / "plinth", ("copier.yml", "includes"))
    (folder / "template").mkdir()
    return folder


def accepted(source: Path, answers: Answers) -> Answers | None:
    """Return all answers these lead to, or None where a validator refuses them."""
    try:
        found = copy(source, source.parent / "service", answers, pretend=True)
    except ValueError:
        return None
    return {name: found[name] for name in questions()}


def around(source: Path, question: str, choice: str) -> tuple[Answers, Answers]:
    """Return answers without a choice, and the same with it, as near to `full` as can be."""
    everything = choices(questions()[question])
    if not questions()[question].get("multiselect"):
        without = {**FULL, question: "none" if choice != "none" else everything[0]}
        found = accepted(source, without)
        assert found is not None
        return found, {**found, question: choice}
    others = [each for each in everything if each != choice]
    for left_out in range(len(others) + 1):
        for gone in combinations(others, left_out):
            kept = [each for each in others if each not in gone]
            found = accepted(source, {**FULL, question: kept})
            chosen = [each for each in everything if each in {*kept, choice}]
            if found and accepted(source, {**found, question: chosen}):
                return found, {**found, question: chosen}
    message = f"{question}={choice} can't be left out"
    raise AssertionError(message)


def assert_parity(plinth: Path, folder: Path, less: Answers, more: Answers) -> None:
    """Switch on and compare with a fresh copy; switch off and compare with the beginning."""
    service = generate(plinth, folder / "service", PRESENT, less)
    fresh = generate(plinth, folder / "fresh", PRESENT, more)
    begun = files(service)

    update(service, data=dict(more), vcs_ref=VcsRef.CURRENT)
    assert files(service) == files(fresh)

    commit(service, "With it")
    update(service, data=dict(less), vcs_ref=VcsRef.CURRENT)
    assert files(service) == begun
    folders = [path for path in service.rglob("*") if path.is_dir() and ".git" not in path.parts]
    assert [path for path in folders if not any(path.iterdir())] == []


def test_everything_at_once_on_and_off_again(plinth: Path, source: Path, tmp_path: Path) -> None:
    less, more = accepted(source, {"preset": "minimal"}), accepted(source, FULL)
    assert less
    assert more
    assert_parity(plinth, tmp_path, less, {**more, "preset": "minimal"})


@pytest.mark.slow
@pytest.mark.parametrize(("question", "choice"), optional(), ids=str)
def test_one_part_on_and_off_again(
    plinth: Path, source: Path, tmp_path: Path, question: str, choice: str
) -> None:
    assert_parity(plinth, tmp_path, *around(source, question, choice))


def test_every_choice_can_be_left_out_alone_or_with_what_needs_it(source: Path) -> None:
    """So the slow test above has something to compare for each."""
    for question, choice in optional():
        less, more = around(source, question, choice)
        assert less != more, (question, choice)


def test_an_edited_file_of_a_part_that_is_switched_off_is_named(
    plinth: Path, tmp_path: Path
) -> None:
    """The service's own command, in a real service; what Copier says is in `test_copier.py`."""
    answers = {"preset": "minimal", "ci": "github"}
    service = generate(plinth, tmp_path / "service", PRESENT, answers)
    edited = service / ".github/workflows/ci.yml"
    edited.write_text(edited.read_text("utf-8") + "# ours\n", encoding="utf-8")
    commit(service, "Ours")
    command = ("python", "-m", "app", "template", "update", "--to", PRESENT, "--no-checks")

    done = run(service, *command, "--data", "ci=none")

    assert done.returncode == 1
    assert "gone: .github/workflows/ci.yml: you had edited it" in done.stdout
    git(service, "restore", ".github/workflows/ci.yml")
    assert edited.read_text("utf-8").endswith("# ours\n")
    assert answers_of(service)["ci"] == "none"
