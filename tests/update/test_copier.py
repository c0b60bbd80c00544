"""What Copier does by itself: the traps this template is built around, each seen.

If one of these fails, Copier has changed: look at what the template does about it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from copier import VcsRef
from copier.errors import UnsafeTemplateError
from jinja2 import UndefinedError

from scripts.releases import git
from tests.questionnaire import recorded
from tests.update.services import (
    PAYLOAD,
    Small,
    answers_of,
    change,
    commit,
    files,
    marked,
    run,
    update,
)

STRICT = "_envops: {undefined: jinja2.StrictUndefined}\n"
NAME = "name: {type: str, default: orders}\n"
MOVE = """
_migrations:
  - version: v2.0.0
    command: git mv lines.txt numbers.txt
    when: "{{ _stage == 'before' }}"
"""


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """A template with one release."""
    template = Small.begin(tmp_path / "template", STRICT + NAME)
    template.publish("v1.0.0")
    return template


def edited(small: Small, folder: Path) -> Path:
    """Make a service of the first release and edit a line of it."""
    service = small.service(folder / "service", "v1.0.0")
    change(service, "lines.txt", "\n30\n", "\nmine\n")
    commit(service, "Mine")
    return service


def test_it_succeeds_where_it_leaves_a_conflict(small: Small, tmp_path: Path) -> None:
    """So the service has checks of its own: `app template`, and the hook."""
    service = edited(small, tmp_path)
    small.change("template/lines.txt", "\n30\n", "\ntheirs\n")
    small.publish("v2.0.0")

    update(service)

    assert marked(service) == {"lines.txt"}


# Copier leaves the listing of the folder it was in unread when it stops.
@pytest.mark.filterwarnings("ignore:.*ScandirIterator:pytest.PytestUnraisableExceptionWarning")
def test_a_new_question_ends_it_unless_the_exclusion_asks_whether_there_was_one(
    small: Small, tmp_path: Path
) -> None:
    """It renders the new exclusions with the old release's answers as well."""
    service = small.service(tmp_path / "service", "v1.0.0")
    new = "cache: {type: bool, default: false}\n"
    exclude = '_exclude: ["{% if not cache %}/cache.txt{% endif %}"]\n'
    small.write("copier.yml", f"_subdirectory: template\n{STRICT}{NAME}{new}{exclude}")
    small.publish("v2.0.0")
    with pytest.raises(UndefinedError, match="'cache' is undefined"):
        update(service)

    small.change("copier.yml", "if not cache", "if cache is defined and not cache")
    small.publish("v2.0.1")
    update(service)
    assert answers_of(service) == {"name": "orders", "cache": False}


def test_a_renamed_file_loses_its_edits(small: Small, tmp_path: Path) -> None:
    service = edited(small, tmp_path)
    git(small.folder, "mv", "template/lines.txt", "template/numbers.txt")
    small.publish("v2.0.0")

    update(service)

    assert "lines.txt" not in files(service)
    assert b"mine" not in files(service)["numbers.txt"]


def test_a_file_that_is_switched_off_goes_with_its_edits(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without a word. `app template` names it, before and after."""
    optional = "lines: {type: bool, default: true}\n"
    exclude = '_exclude: ["{% if not lines %}/lines.txt{% endif %}"]\n'
    template = Small.begin(tmp_path / "template", STRICT + optional + exclude)
    template.publish("v1.0.0")
    service = edited(template, tmp_path)

    update(service, data={"lines": False}, vcs_ref=VcsRef.CURRENT, quiet=False)

    assert "lines.txt" not in files(service)
    assert "lines.txt" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("touch", [True, False])
def test_a_migration_needs_trust_and_conflicts_where_the_template_changed_the_file_too(
    small: Small, tmp_path: Path, *, touch: bool
) -> None:
    """Why files move as `includes/changes.yml` says, and not by `git mv`: decision 11.

    Without an ancestor every changed line is a conflict, also for who never edited the file.
    """
    service = edited(small, tmp_path) if touch else small.service(tmp_path / "service", "v1.0.0")
    git(small.folder, "mv", "template/lines.txt", "template/numbers.txt")
    small.change("template/numbers.txt", "\n20\n", "\ntwenty\n")
    small.change("copier.yml", NAME, NAME + MOVE)
    small.publish("v2.0.0")
    with pytest.raises(UnsafeTemplateError, match="migrations"):
        update(service)
    assert git(service, "status", "--porcelain") == b""

    update(service, unsafe=True)
    assert marked(service) == {"numbers.txt"}


def test_an_excluded_old_path_stays_with_its_edits(small: Small, tmp_path: Path) -> None:
    """What this template does with a file that moves; `app template` merges it afterwards."""
    service = edited(small, tmp_path)
    git(small.folder, "mv", "template/lines.txt", "template/numbers.txt")
    small.change("copier.yml", NAME, f"{NAME}_exclude: [/lines.txt]\n")
    small.publish("v2.0.0")

    update(service)

    assert b"mine" in files(service)["lines.txt"]
    assert "numbers.txt" in files(service)


def test_a_question_that_is_called_otherwise_takes_the_old_answer_by_its_default(
    small: Small, tmp_path: Path
) -> None:
    """And forgets it otherwise."""
    service = small.service(tmp_path / "service", "v1.0.0", name="shipping")
    renamed = "title: {type: str, default: \"{{ name if name is defined else 'orders' }}\"}\n"
    small.write("copier.yml", f"_subdirectory: template\n{STRICT}{renamed}")
    small.publish("v2.0.0")

    update(service)

    assert answers_of(service) == {"title": "shipping"}


def test_an_answer_that_is_no_longer_accepted_becomes_the_default(
    small: Small, tmp_path: Path
) -> None:
    """Without a word. So a choice may not go and a validator may not become stricter."""
    service = small.service(tmp_path / "service", "v1.0.0", name="shipping")
    small.change("copier.yml", "default: orders", "default: orders, choices: [orders, goods]")
    small.publish("v2.0.0")

    update(service)

    assert answers_of(service) == {"name": "orders"}


def test_a_question_without_default_ends_it(small: Small, tmp_path: Path) -> None:
    service = small.service(tmp_path / "service", "v1.0.0")
    small.change("copier.yml", NAME, f"{NAME}owner: {{type: str}}\n")
    small.publish("v2.0.0")
    with pytest.raises(ValueError, match='Question "owner" is required'):
        update(service)


def test_a_tag_that_is_no_version_is_passed_over(small: Small, tmp_path: Path) -> None:
    """And so is a pre-release."""
    service = small.service(tmp_path / "service", "v1.0.0")
    small.publish("release-2")
    small.publish("v2.0.0rc1")

    update(service)

    assert recorded(service)["_commit"] == "v1.0.0"


def test_a_relative_address_is_refused_with_the_way_out(small: Small, tmp_path: Path) -> None:
    """Copier would look for it from wherever it is started."""
    service = small.service(tmp_path / "service", "v1.0.0")
    change(service, ".copier-answers.yml", str(small.folder), "../elsewhere")
    commit(service, "Relative")
    with pytest.raises(ValueError, match="must be a directory"):
        update(service)
    told = run(service, "python", "-m", "app", "template", "status", PYTHONPATH=PAYLOAD)
    assert told.returncode == 1
    assert "write the template's address or absolute path there" in told.stderr
