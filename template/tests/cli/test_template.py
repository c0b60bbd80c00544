"""`app template` finds what an update left. Updates themselves are tested where the template is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from app.cli.updates.leftovers import markers, rejected, summary
from app.cli.updates.moves import LIST, Merged, Move, merge, moves, pending
from app.cli.updates.origin import ANSWERS, field, origin
from app.core.errors import ConfigurationError
from tests.cli.conftest import Run

RECORD = "# By Copier.\n_commit: v1.0.0\n_src_path: {source}\nproject_name: 'orders'\n"
NOBODY = {
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
}
LINES = "".join(f"{number}\n" for number in range(30))


def git(folder: Path, *words: str) -> None:
    command = ["git", *words]
    subprocess.run(command, cwd=folder, env={**os.environ, **NOBODY}, check=True)


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """A repository with a record of the template, all committed."""
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / ANSWERS).write_text(RECORD.format(source="/template"), encoding="utf-8")
    (folder / "lines.txt").write_text(LINES, encoding="utf-8")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Start")
    return folder


@pytest.mark.parametrize("value", ["v1.0.0", "'v1.0.0'", '"v1.0.0"  '])
def test_a_field_of_the_record_is_read_however_it_is_quoted(value: str) -> None:
    assert field(f"a: b\n_commit: {value}\nc: d\n", "_commit") == "v1.0.0"


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (None, "run this in the folder of a service"),
        ("_src_path: /template\n", "names no release"),
        (RECORD.format(source="../template"), "write the template's address or absolute path"),
    ],
)
def test_a_record_that_can_not_be_updated_from_is_refused_with_the_way_out(
    tmp_path: Path, record: str | None, sentence: str
) -> None:
    if record:
        (tmp_path / ANSWERS).write_text(record, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=sentence):
        origin(tmp_path)


@pytest.mark.parametrize("source", ["/template", "https://example.com/t.git", "gh:a/b", "git@h:t"])
def test_an_address_or_absolute_path_can_be_updated_from(tmp_path: Path, source: str) -> None:
    (tmp_path / ANSWERS).write_text(RECORD.format(source=source), encoding="utf-8")

    assert origin(tmp_path).source == source


def test_a_clone_stands_for_an_address_only(tmp_path: Path) -> None:
    (tmp_path / ANSWERS).write_text(RECORD.format(source="/template"), encoding="utf-8")

    with pytest.raises(ConfigurationError, match="--clone stands for an address"):
        origin(tmp_path, tmp_path)


def test_nothing_is_found_in_a_service_as_it_was_committed(service: Path, command: Run) -> None:
    done = command("template", "check", cwd=service)

    assert (done.returncode, done.stdout.strip()) == (
        0,
        "No conflict, and nothing of yours is gone.",
    )


def test_markers_and_rejected_hunks_are_found_with_what_to_do(service: Path, command: Run) -> None:
    conflict = "<<<<<<< before updating\na\n=======\nb\n>>>>>>> after updating\n"
    (service / "new.py").write_text(f"x\n{conflict}", encoding="utf-8")
    (service / "a.py.rej").write_text("@@\n", encoding="utf-8")
    (service / ".gitignore").write_text("*.rej\n", encoding="utf-8")

    assert markers(service) == ["new.py:2", "new.py:6"]
    assert rejected(service) == ["a.py.rej"]
    done = command("template", "check", cwd=service)
    assert done.returncode == 1
    assert "conflict: new.py:2: choose, and remove the markers" in done.stdout
    assert "rejected: a.py.rej: put it in by hand, then delete it" in done.stdout


def test_an_update_asks_about_what_git_overlooks(service: Path, command: Run) -> None:
    """Should it be taken back, the edit would be lost."""
    mark = ["git", "update-index", "--assume-unchanged", "lines.txt"]
    subprocess.run(mark, cwd=service, check=True)
    (service / "lines.txt").write_text("edited\n", encoding="utf-8")

    done = command("template", "update", cwd=service)

    assert done.returncode == 1
    assert "git is told to overlook changes of lines.txt" in done.stderr


def test_an_update_asks_for_a_committed_service(service: Path, command: Run) -> None:
    """So that `git restore` takes it back, and an edit can be told from the template's work."""
    (service / "lines.txt").write_text("edited\n", encoding="utf-8")

    done = command("template", "update", cwd=service)

    assert done.returncode == 1
    assert "Commit or stash your changes first" in done.stderr
    assert "lines.txt" in done.stderr


def test_outside_of_git_it_says_so(tmp_path: Path, command: Run) -> None:
    (tmp_path / ANSWERS).write_text(RECORD.format(source="/template"), encoding="utf-8")

    done = command("template", "update", cwd=tmp_path, GIT_CEILING_DIRECTORIES=str(tmp_path.parent))

    assert done.returncode == 1
    assert "not a git repository" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_changed_is_told_by_kind(service: Path) -> None:
    (service / "lines.txt").unlink()
    (service / "added").mkdir()
    (service / "added/file.txt").touch()
    (service / ANSWERS).write_text(RECORD.format(source="/elsewhere"), encoding="utf-8")

    assert summary(service) == {
        "changed": [ANSWERS],
        "added": ["added/file.txt"],
        "removed": ["lines.txt"],
    }


MOVE = Move("lines.txt", "src/numbers.txt")


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """The service as the template rendered it, before the file moved."""
    folder = tmp_path / "before"
    folder.mkdir()
    (folder / MOVE.old).write_text(LINES, encoding="utf-8")
    return folder


def write(folder: Path, path: str, text: str) -> Path:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text, encoding="utf-8")
    return folder / path


@pytest.mark.parametrize(
    ("mine", "outcome", "result"),
    [
        (LINES, Merged.UNTOUCHED, LINES.replace("20\n", "twenty\n")),
        (
            LINES.replace("5\n", "five\n", 1),
            Merged.CLEANLY,
            LINES.replace("5\n", "five\n", 1).replace("20\n", "twenty\n"),
        ),
        (
            LINES.replace("20\n", "XX\n"),
            Merged.CONFLICT,
            LINES.replace("20\n", "<<<<<<< template\ntwenty\n=======\nXX\n>>>>>>> yours\n"),
        ),
    ],
)
def test_edits_of_a_file_follow_it_where_it_moved(
    service: Path, before: Path, mine: str, outcome: Merged, result: str
) -> None:
    """The template moved it and changed its line 20 in one release."""
    write(service, MOVE.old, mine)
    new = write(service, MOVE.new, LINES.replace("20\n", "twenty\n"))

    assert merge(service, before, MOVE) is outcome

    assert new.read_text(encoding="utf-8") == result
    assert not (service / MOVE.old).exists()
    assert bool(markers(service)) is (outcome is Merged.CONFLICT)


def test_an_edited_file_stays_when_there_is_nothing_to_merge_it_with(
    service: Path, before: Path, tmp_path: Path
) -> None:
    """A part that is left out has no new file; an own file of that name has no ancestor."""
    write(service, MOVE.old, "mine\n")

    assert merge(service, before, MOVE) is Merged.KEPT
    write(service, MOVE.new, LINES)
    assert merge(service, tmp_path, MOVE) is Merged.KEPT
    assert (service / MOVE.old).read_text(encoding="utf-8") == "mine\n"


def test_a_move_waits_while_its_old_file_is_there(service: Path) -> None:
    told = '[{"release": "1.1.0", "from": "lines.txt", "to": "src/numbers.txt"}]'
    write(service, LIST, told)

    assert moves(service) == list(pending(service)) == [MOVE]
    (service / MOVE.old).unlink()
    assert list(pending(service)) == []
