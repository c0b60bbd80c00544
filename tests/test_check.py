"""What `make test` promises about itself: nothing is hidden, nothing stays."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from scripts import check
from scripts.check import Check
from scripts.console import CommandError, Steps

MISSING = "no server here: `apt-get install server`"


@contextmanager
def nowhere(folder: Path) -> Iterator[str]:
    """Stand for a server this machine can't have."""
    del folder
    raise CommandError(MISSING)
    yield ""


@pytest.fixture
def without_server(monkeypatch: pytest.MonkeyPatch) -> Check:
    """A check that makes no sense without such a server."""
    monkeypatch.setattr(check, "SERVERS", {"it": nowhere})
    monkeypatch.delenv("CI", raising=False)
    return Check(
        name="it",
        title="with the server",
        commands=[["python", "-c", ""]],
        servers={"TEST_URL": "it"},
        only_with_servers=True,
    )


def test_missing_server_skips_its_tests_and_says_why(
    without_server: Check, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = Steps()
    check.run_checks(steps, [without_server], tmp_path)
    assert [outcome.title for outcome in steps.outcomes] == ["start it"]
    assert steps.failed == []
    assert f"tests on it are skipped: {MISSING}" in capsys.readouterr().out


def test_check_gets_the_url_of_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "SERVERS", {"it": lambda folder: nullcontext(f"url:{folder.name}")})
    code = "import os; raise SystemExit(os.environ['TEST_URL'] != 'url:it')"
    steps = Steps()
    with_server = Check(
        name="it", title="it", commands=[["python", "-c", code]], servers={"TEST_URL": "it"}
    )
    check.run_checks(steps, [with_server], tmp_path)
    assert steps.failed == []


def test_missing_server_fails_continuous_integration(
    without_server: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    steps = Steps()
    check.run_checks(steps, [without_server], tmp_path)
    assert [outcome.failure for outcome in steps.failed] == [MISSING]


def test_a_failed_step_does_not_hide_the_next(tmp_path: Path) -> None:
    fails = Check(name="a", title="fails", commands=[["python", "-c", "raise SystemExit(3)"]])
    works = Check(
        name="b", title="works", commands=[["python", "-c", "print('== 1 passed in 0.1s ==')"]]
    )
    steps = Steps()
    check.run_checks(steps, [fails, works], tmp_path)
    assert [outcome.failure for outcome in steps.outcomes] == [
        "`python -c raise SystemExit(3)` exits 3",
        None,
    ]
    assert steps.outcomes[1].note == "1 passed in 0.1s"


def test_a_file_left_behind_is_named(tmp_path: Path) -> None:
    """Ignored ones too; only the environment and the caches may stay."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("var/\n.cache/\n", encoding="utf-8")
    before = check.files_around(tmp_path)
    for name in ("var/data.db", ".cache/tool", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    steps = Steps()
    check.look_for_leftovers(steps, before, tmp_path)
    told = "left behind:\n    file notes.txt\n    file var/data.db"
    assert [outcome.failure for outcome in steps.failed] == [told]


def test_a_process_left_behind_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "PATIENCE", 0.1)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    steps = Steps()
    with subprocess.Popen(["sleep", "60"]) as left:
        try:
            check.look_for_leftovers(steps, set(), tmp_path)
        finally:
            left.kill()
    (outcome,) = steps.failed
    assert outcome.failure == f"left behind:\n    process {left.pid}: sleep 60"
