"""`app template` in small services, quick to update; `test_toggles.py` runs it in a real one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import release, releases
from scripts.releases import git
from tests.questionnaire import recorded
from tests.rendering import ROOT
from tests.update.services import (
    DAY,
    PAYLOAD,
    PRESENT,
    Small,
    change,
    commit,
    files,
    generate,
    run,
)

NOW, LATER = "v1.0.0", "v1.1.0"
MODULE = "src/app/modules/shop"
OLD, NEW = "docs/testing.md", "docs/tests.md"
SHOP = (
    "src/app/modules/__init__.py",
    "src/app/infrastructure/post/__init__.py",
    f"{MODULE}/__init__.py",
    "tests/modules/shop/test_shop.py",
)
SHOP_LATER = (
    f"{MODULE}/ports.py",
    f"{MODULE}/till/__init__.py",
    "tests/modules/shop/test_till.py",
    "migrations/versions/shop/shop_0002_till.py",
)
STALL = "src/app/modules/stall/__init__.py"
"""Of a module that is new."""
TEXT = "src/app/infrastructure/post/texts/de/greeting.txt"
"""In a folder that is new in a module that is there."""
TEMPLATE = ("python", "-m", "app", "template")
ADDRESS = "https://git.example.com/plinth.git"
QUICK = Path(PAYLOAD, "app", "cli", "updates", "quick_copier.py")
UNKNOWN = "ruff check --select NOSUCHRULE"
LISTS = "behaviour: []\nmoved: []\n"


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template whose second release moves a page, and changes it and a line of another."""
    small = Small.like_this(tmp_path_factory.mktemp("later") / "plinth", LISTS)
    small.write(f"template/{OLD}", "".join(["# Testing\n", *(f"{n}\n" for n in range(30))]))
    small.write("template/.github/workflow.yml", "jobs: {}\n")
    small.write("template/AGENTS.md", "# For agents and newcomers\n")
    for path in SHOP:
        small.write(f"template/{path}", '"""The shop."""\n')
    small.publish(NOW)
    for path in (*SHOP_LATER, TEXT, STALL):
        small.write(f"template/{path}", '"""More of the shop."""\n')
    git(small.folder, "mv", f"template/{OLD}", f"template/{NEW}")
    small.change(f"template/{NEW}", "# Testing", "# Tests")
    small.change("template/AGENTS.md", "# For agents and newcomers", "# For newcomers")
    small.change("copier.yml", "\n_exclude:\n", f"\n_exclude:\n  - /{OLD}\n")
    moved = f"moved: [{{release: unreleased, from: {OLD}, to: {NEW}}}]"
    small.change(release.CHANGES, "moved: []", moved)
    told = "behaviour:\n  - release: unreleased\n    text: It counts in dozens now.\n"
    small.change(release.CHANGES, "behaviour: []\n", told)
    small.change(release.CHANGES, "{release: unreleased,", '{release: "1.1.0",')
    release.stamp(small.folder, LATER.removeprefix("v"), DAY)
    small.publish(LATER)
    return small.folder


@pytest.fixture
def service(later: Path, tmp_path: Path) -> Path:
    """A service of the first release; somebody added to the page that will move."""
    service = generate(later, tmp_path / "service", NOW, {})
    page = service / OLD
    page.write_text(page.read_text("utf-8") + "\nOurs.\n", encoding="utf-8")
    commit(service, "Ours")
    return service


def app(service: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `app template …` of the working tree in a service."""
    return run(service, *TEMPLATE, *words, PYTHONPATH=PAYLOAD, **env)


def test_status_tells_what_an_update_does_and_changes_nothing(service: Path) -> None:
    told = app(service, "status")

    assert told.returncode == 0, told.stderr
    assert f"In use:   {NOW.removeprefix('v')}" in told.stdout
    assert f"Newest:   {LATER.removeprefix('v')}" in told.stdout
    assert "AGENTS.md" in told.stdout
    assert f"moved: {OLD} → {NEW}: with your edits" in told.stdout
    assert "1.1.0: It counts in dozens now." in told.stdout
    assert "No conflict, and nothing of yours is gone." in told.stdout
    assert git(service, "status", "--porcelain") == b""


def test_status_names_the_edited_files_that_would_go(service: Path) -> None:
    change(service, ".github/workflow.yml", "{}", "{ours: {}}")
    commit(service, "Ours")

    told = app(service, "status", "--data", "ci=none")

    assert told.returncode == 0, told.stderr
    assert "gone: .github/workflow.yml: you had edited it" in told.stdout
    assert (service / ".github/workflow.yml").exists()


def test_update_takes_edits_along_tells_a_failed_check_and_never_commits(
    service: Path,
) -> None:
    head = git(service, "rev-parse", "HEAD")

    done = app(service, "update", "--check", "ruff check .", "--check", UNKNOWN)
    settled = app(service, "check")

    assert done.returncode == 1, done.stderr
    assert f"failed: {UNKNOWN}" in done.stdout
    now = files(service)
    assert OLD not in now
    assert now[NEW].startswith(b"# Tests\n")
    assert now[NEW].endswith(b"\nOurs.\n")
    assert "$ ruff check ." in done.stdout
    assert "All checks passed!" in done.stdout
    assert recorded(service)["_commit"] == LATER
    assert git(service, "rev-parse", "HEAD") == head
    assert settled.returncode == 0, settled.stdout
    commit(service, "Updated")
    assert "Nothing to do." in app(service, "status").stdout


def test_after_a_plain_copier_update_the_check_merges_what_moved(service: Path) -> None:
    """The old page stays with its edits until then, so nothing depends on the command."""
    plain = run(service, "copier", "update", "--defaults", "--quiet")
    waiting = app(service, "check")
    commit(service, "Updated without looking")
    merged = app(service, "check", "--merge")

    assert plain.returncode == 0
    assert waiting.returncode == 1
    assert f"moved: {OLD} → {NEW}: run `app template check --merge`" in waiting.stdout
    assert merged.returncode == 0, merged.stdout + merged.stderr
    assert f"moved: {OLD} → {NEW}: with your edits" in merged.stdout
    assert files(service)[NEW].endswith(b"\nOurs.\n")


def test_a_conflict_is_told_and_the_checks_wait_for_it(service: Path) -> None:
    change(service, "AGENTS.md", "# For agents and newcomers", "# For our agents")
    commit(service, "Ours")

    done = app(service, "update", "--check", "ruff --version")
    hook = run(service, "git", "grep", "-nE", "^(<{7}|>{7}) ")

    assert done.returncode == 1
    assert "conflict: AGENTS.md:1: choose, and remove the markers" in done.stdout
    assert "$ ruff" not in done.stdout
    assert hook.stdout.startswith("AGENTS.md:1:<<<<<<< ")

    page = (ROOT / "template/docs/updating.md").read_text(encoding="utf-8")
    (way_back,) = re.findall(r"`(git restore[^`]*&& git clean -fd)`", page)
    back = run(service, "bash", "-c", way_back)

    assert back.returncode == 0, back.stderr
    assert git(service, "status", "--porcelain") == b""


def test_an_update_that_breaks_off_leaves_nothing(service: Path, tmp_path: Path) -> None:
    """Half of one has lost edits, and looks like a whole one to whoever comes later."""
    programs = tmp_path / "programs"
    programs.mkdir()
    copier = programs / "copier"
    copier.write_text("#!/bin/sh\necho half > AGENTS.md\necho half > new\nexit 1\n")
    copier.chmod(0o755)

    done = app(service, "update", PATH=f"{programs}{os.pathsep}{os.environ['PATH']}")

    assert done.returncode == 1
    assert "Taken back: nothing was changed." in done.stderr
    assert "`copier update` failed" in done.stderr
    assert git(service, "status", "--porcelain") == b""


def test_a_service_that_is_in_no_commit_can_not_be_tried(later: Path, tmp_path: Path) -> None:
    """It is in a repository of many, and was not committed yet."""
    service = generate(later, tmp_path / "many" / "service", NOW, {})
    shutil.rmtree(service / ".git")
    git(service.parent, "init", "--quiet")
    git(service.parent, "commit", "--quiet", "--allow-empty", "--message", "Others")

    told = app(service, "status")

    assert told.returncode == 1
    assert "Commit the service first" in told.stderr


@pytest.fixture
def without_shop(service: Path) -> Path:
    """Somebody has deleted a module, as one does: its folder and that of its tests."""
    for folder in (MODULE, "tests/modules/shop"):
        shutil.rmtree(service / folder)
    commit(service, "No shop")
    return service


def test_nothing_comes_back_of_a_module_that_was_deleted(without_shop: Path) -> None:
    """Though the release has new files in it."""
    tried = app(without_shop, "status")
    done = app(without_shop, "update", "--no-checks")

    assert done.returncode == 0, done.stdout + done.stderr
    for path in SHOP_LATER:
        assert f"left out: {path}: you have deleted {MODULE}" in done.stdout
        assert f"left out: {path}" in tried.stdout
    assert not (without_shop / MODULE).exists()
    assert not (without_shop / "tests").exists()
    assert not (without_shop / "migrations").exists()
    assert (without_shop / SHOP[0]).exists()
    assert (without_shop / TEXT).exists()
    assert (without_shop / STALL).exists()


def test_a_new_module_comes_where_all_others_were_deleted(without_shop: Path) -> None:
    git(without_shop, "rm", "--quiet", "-r", "src/app/modules")
    commit(without_shop, "No modules")

    done = app(without_shop, "update", "--no-checks")

    assert done.returncode == 0, done.stdout
    assert (without_shop / STALL).exists()
    assert not (without_shop / MODULE).exists()


def test_after_a_plain_copier_update_the_check_removes_what_is_back(without_shop: Path) -> None:
    """And nothing else: a folder of somebody's own may be no package yet."""
    plain = run(without_shop, "copier", "update", "--defaults", "--quiet")
    ours = without_shop / "src/app/modules/begun/notes.py"
    ours.parent.mkdir()
    ours.write_text('"""Ours."""\n', encoding="utf-8")
    edited = without_shop / SHOP_LATER[0]
    edited.write_text('"""Ours as well, by now."""\n', encoding="utf-8")
    told = app(without_shop, "check")
    tidied = app(without_shop, "check", "--merge")

    assert plain.returncode == 0
    assert told.returncode == 1
    assert f"back: {SHOP_LATER[1]}: you have deleted {MODULE}" in told.stdout
    assert tidied.returncode == 0, tidied.stdout + tidied.stderr
    assert ours.exists()
    assert edited.exists()
    assert not any((without_shop / path).exists() for path in SHOP_LATER[1:])


def test_a_module_of_the_same_name_is_their_own(service: Path) -> None:
    """What is new in it comes, as ever; it may be no package."""
    git(service, "rm", "--quiet", "-r", MODULE, "tests/modules/shop")
    (service / MODULE).mkdir(parents=True)
    (service / MODULE / "module.py").write_text('"""A shop of ours."""\n', encoding="utf-8")
    commit(service, "Our own shop")

    done = app(service, "update", "--no-checks")

    assert done.returncode == 0, done.stdout
    assert all((service / path).exists() for path in SHOP_LATER)


def test_it_works_offline_from_a_clone(service: Path, later: Path, tmp_path: Path) -> None:
    """The address in the record can't be reached; it stays as it is."""
    change(service, ".copier-answers.yml", str(later), ADDRESS)
    commit(service, "From an address")
    clone = tmp_path / "clone"
    shutil.copytree(later, clone)

    refused = app(service, "status", GIT_TERMINAL_PROMPT="0", GIT_ALLOW_PROTOCOL="file")
    done = app(
        service,
        "update",
        "--clone",
        str(clone),
        "--no-checks",
        GIT_ALLOW_PROTOCOL="file",
    )

    assert refused.returncode == 1
    assert "`copier check-update` failed" in refused.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert recorded(service)["_commit"] == LATER
    assert recorded(service)["_src_path"] == ADDRESS


def test_the_quick_way_to_run_copier_writes_what_copier_writes(
    plinth: Path, tmp_path: Path
) -> None:
    """Of the whole template: texts that are compiled once render as ever."""
    as_ever = generate(plinth, tmp_path / "as ever", PRESENT, {"preset": "full"})
    words = ["copy", "--defaults", "--quiet", "--data", "preset=full", "--vcs-ref", PRESENT]
    target = tmp_path / "quick"

    done = run(tmp_path, sys.executable, str(QUICK), *words, str(plinth), str(target))

    assert done.returncode == 0, done.stderr
    git(target, "init", "--quiet")
    assert files(target) == files(as_ever)


@pytest.mark.parametrize("tracks_modes", ["true", "false"])
def test_the_quick_way_keeps_to_what_other_templates_do(tmp_path: Path, tracks_modes: str) -> None:
    """Paths that yield several, and programs where git does not see that they may be run."""
    template = tmp_path / "template"
    several = template / "docs" / "{% yield name from names %}{{ name }}{% endyield %}"
    several.mkdir(parents=True)
    (template / "{{ _copier_conf.answers_file }}.jinja").write_text(
        "{{ _copier_answers | to_yaml }}"
    )
    (template / "copier.yml").write_text("names: {type: yaml, default: [a, b]}\n")
    (several / "page.md").write_text("Page\n")
    (template / "run.sh").write_text("true\n")
    git(template, "init", "--quiet", "--initial-branch=main")
    releases.publish(template, NOW)
    (template / "run.sh").chmod(0o755)
    releases.publish(template, LATER)

    def made(folder: str, *program: str) -> list[bytes]:
        """Copy a release and update to the next; return what git sees."""
        service = tmp_path / folder
        words = ["--defaults", "--quiet", "--vcs-ref"]
        copied = run(tmp_path, *program, "copy", *words, NOW, str(template), str(service))
        assert copied.returncode == 0, copied.stderr
        git(service, "init", "--quiet", "--initial-branch=main")
        git(service, "config", "core.fileMode", tracks_modes)
        commit(service, "Generated")
        updated = run(service, *program, "update", *words, LATER)
        assert updated.returncode == 0, updated.stderr
        return [git(service, "diff", "HEAD"), git(service, "ls-files", "--stage")]

    quick = made("quick", sys.executable, str(QUICK))

    assert quick == made("plain", sys.executable, "-m", "copier")
    assert b"docs/a/page.md" in quick[1]
    assert b"100755" in b"".join(quick)


def test_the_quick_way_leaves_another_copier_as_it_is(tmp_path: Path) -> None:
    """One that is built in another way says by itself what it thinks of the template."""
    (tmp_path / "copier").mkdir()
    (tmp_path / "copier" / "__init__.py").touch()
    (tmp_path / "copier" / "__main__.py").write_text("print('too old')", encoding="utf-8")

    done = run(tmp_path, sys.executable, str(QUICK), "update", PYTHONPATH=str(tmp_path))

    assert done.stdout == "too old\n", done.stderr
