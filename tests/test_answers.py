"""The questions: what is refused, what is remembered, what each changes."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.pins import BUILDS_ON
from tests.questionnaire import (
    ANSWERS_FILE,
    TOOLS,
    VARIANTS,
    contents,
    questions,
    recorded,
    settings,
)
from tests.rendering import ROOT, Template, copy, export

INLINE_BUDGET = 60
"""`if`, `elif` and `for` in the whole payload. DESIGN allows 60."""

BAD: list[tuple[dict[str, Any], str]] = [
    ({"project_name": "My_Service"}, "Choose a name of lower-case letters, digits and single"),
    ({"project_name": "1st"}, "that starts with a letter, such as my-service"),
    ({"project_name": "a--b"}, "single hyphens"),
    ({"project_name": "ends-"}, "single hyphens"),
    ({"project_name": "two\n"}, "single hyphens"),
    ({"project_name": ""}, "such as my-service"),
    ({"project_name": "a" * 41}, "at most 40 characters"),
    ({"project_name": "app"}, '"app" is the Python package inside every service'),
    ({"project_name": "fastapi"}, 'depends on a package called "fastapi"'),
    ({"project_name": "starlette"}, 'depends on a package called "starlette"'),
    ({"description": "  "}, "Write one line that says what the service does"),
    ({"description": "two\nlines"}, "without control characters"),
    ({"description": "x" * 201}, "at most 200 characters"),
    ({"author_name": " "}, "Write the name of a person or a team"),
    ({"author_name": "A\nB"}, "without control characters"),
    ({"author_email": "nobody"}, "Write one address such as team@example.com"),
    ({"author_email": 'a@b.c"'}, "or leave it empty"),
    ({"license": "GPL"}, "'GPL' is not in ['MIT', 'Apache-2.0', 'proprietary']"),
    ({"python_floor": "3.10"}, "'3.10' is not in ['3.11', '3.12', '3.13', '3.14']"),
    ({"preset": "huge"}, "'huge' is not in ['minimal', 'standard', 'full']"),
    (
        {"infrastructure": ["mysql"]},
        "'mysql' is not in ['database', 'redis', 'event_bus', 'cache', 'rate_limiter', 'mail',",
    ),
    ({"infrastructure": ["cache"]}, "choose redis too, or leave cache out"),
    (
        {"features": ["carts"]},
        "'carts' is not in ['users', 'avatars', 'thumbnails', 'welcome', 'live_page']",
    ),
    ({"infrastructure": ["redis", "sse"]}, "choose event_bus and redis too, or leave sse out"),
    ({"infrastructure": ["event_bus", "websockets"]}, "or leave websockets out"),
    ({"features": ["users", "live_page"]}, "choose sse too, or leave live_page out"),
    ({"preset": "full", "features": ["live_page"]}, "choose users too, or leave live_page out"),
    ({"features": ["avatars"]}, "Avatars are pictures of users: choose users too"),
    ({"storage": [], "features": ["users", "avatars"]}, "choose a storage too, local at least"),
    ({"features": ["users", "thumbnails"]}, "choose avatars too, or leave thumbnails out"),
    (
        {"background": [], "features": ["users", "avatars", "thumbnails"]},
        "choose deferred too, or leave them out",
    ),
    ({"infrastructure": ["redis"], "features": ["users"]}, "choose database too, or leave users"),
    ({"infrastructure": ["rate_limiter"]}, "choose redis too, or leave rate_limiter out"),
    ({"infrastructure": [], "queue_engines": ["bullmq"]}, "choose redis too, or no engine"),
    ({"queue_engines": [], "background": ["deferred"]}, "choose an engine for the queue too"),
    ({"infrastructure": ["redis"], "background": ["deferred", "outbox"]}, "choose database too"),
    ({"background": ["outbox"]}, "choose deferred too"),
    ({"background": ["compute"]}, "choose deferred too, or leave compute out"),
    ({"preset": "minimal", "features": ["users"]}, "choose database too, or leave users out"),
    ({"features": ["welcome"]}, "choose users too, or leave welcome out"),
    (
        {"infrastructure": ["database", "redis"], "features": ["users", "welcome"]},
        "choose mail too, or leave welcome out",
    ),
    (
        {"infrastructure": ["database", "redis", "mail"], "features": ["users", "welcome"]},
        "choose event_bus too, or leave welcome out",
    ),
    (
        {"background": ["deferred"], "features": ["users", "welcome"]},
        "choose deferred and outbox too, or leave welcome out",
    ),
    ({"storage": ["s3"]}, "choose local too, or no storage at all"),
    ({"storage": ["floppy"]}, "'floppy' is not in ['local', 's3', 'azure', 'gcs']"),
    ({"deployment": ["kubernetes"]}, "choose docker too, or leave kubernetes out"),
    ({"deployment": ["heroku"]}, "'heroku' is not in ['docker', 'kubernetes']"),
    ({"ci": "jenkins"}, "'jenkins' is not in ['github', 'gitlab', 'none']"),
]

GOOD: list[dict[str, Any]] = [
    {"project_name": "a"},
    {"project_name": "class"},
    {"project_name": "json"},
    {"project_name": "a" * 40},
    {"author_email": "first.last+tag@mail.example.co.uk"},
    {"infrastructure": [], "deployment": []},
    {"preset": "minimal", "infrastructure": ["database"]},
]

OTHER: dict[str, Any] = {
    "project_name": "orders",
    "description": "Takes orders",
    "author_name": "Ada Lovelace",
    "author_email": "ada@example.com",
    "license": "Apache-2.0",
    "python_floor": "3.13",
    "preset": "full",
    "infrastructure": ["database"],
    "queue_engines": [],
    "background": [],
    "storage": [],
    "features": [],
    "deployment": ["docker", "kubernetes"],
    "ci": "gitlab",
}
"""For every question, an answer that is not its default."""


def render(template: Template, target: Path, **answers: Any) -> Path:
    """Write a service of its own to `target`."""
    copy(template.source, target, answers)
    return target


@pytest.fixture(scope="session")
def default(template: Template) -> Path:
    """The service of somebody who answers nothing."""
    return template.service({}).folder


def pyproject(service: Path) -> dict[str, Any]:
    return tomllib.loads((service / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(group: str, kind: str = "requirements") -> list[Requirement]:
    path = ROOT / "includes" / kind / f"{group}.txt"
    return [Requirement(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("infrastructure", [[], ["event_bus"], ["mail"], ["database"]])
def test_a_secret_has_a_place_in_kubernetes(
    template: Template, tmp_path: Path, infrastructure: list[str]
) -> None:
    """And the page names the file where it is there."""
    answers = {"preset": "minimal", "deployment": ["docker", "kubernetes"]}
    service = render(template, tmp_path / "service", infrastructure=infrastructure, **answers)
    page = (service / "docs/operations.md").read_text(encoding="utf-8")
    example = service / "deploy/kubernetes/secret.yaml.example"
    kept = re.findall(r"_PASSWORD", example.read_text("utf-8") if example.exists() else "")

    assert bool(kept) == (
        "set it in" in (service / "deploy/docker/compose.yaml").read_text("utf-8")
    )
    assert example.exists() == (example.name in page)


@pytest.mark.parametrize(("answers", "sentence"), BAD)
def test_bad_answer_is_refused_with_a_sentence(
    template: Template, tmp_path: Path, answers: dict[str, Any], sentence: str
) -> None:
    """The sentence says what to choose, and nothing is written."""
    target = tmp_path / "service"
    with pytest.raises(ValueError, match=re.escape(sentence)):
        render(template, target, **answers)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("answers", GOOD)
def test_unusual_answer_is_taken(
    template: Template, tmp_path: Path, answers: dict[str, Any]
) -> None:
    service = render(template, tmp_path / "service", **answers)
    assert pyproject(service)["project"]["name"] == answers.get("project_name", "my-service")


def test_every_question_is_complete() -> None:
    """Each has a default, help, and something that refuses a bad answer."""
    for name, question in questions().items():
        assert "default" in question, name
        assert question["help"].strip(), name
        assert "validator" in question or "choices" in question, name


def test_nobody_needs_to_trust_the_template() -> None:
    """Neither tasks nor extensions nor migrations, which Copier runs only with `--trust`."""
    assert settings().keys() & {"_tasks", "_jinja_extensions", "_migrations"} == set()


def test_every_question_has_an_effect(template: Template, default: Path, tmp_path: Path) -> None:
    """Another answer changes some file besides the record of the answers."""
    assert OTHER.keys() == questions().keys()
    before = contents(default) | {ANSWERS_FILE: b""}
    for name, answer in OTHER.items():
        service = render(template, tmp_path / name, **{name: answer})
        assert contents(service) | {ANSWERS_FILE: b""} != before, name


def test_answers_are_remembered(template: Template, tmp_path: Path) -> None:
    """Every question's answer is in the file `copier update` reads, and nothing else."""
    service = render(template, tmp_path / "service", **OTHER)
    answers = recorded(service)
    assert answers == OTHER | {"_src_path": str(template.source)}


def test_answers_file_may_be_called_otherwise(template: Template, tmp_path: Path) -> None:
    """A repository may hold several services, each with its own record."""
    words = ["copy", "--defaults", "--quiet", "--answers-file", ".answers.yml"]
    subprocess.run([TOOLS / "copier", *words, template.source, tmp_path], check=True)
    assert (tmp_path / ".answers.yml").exists()
    assert not (tmp_path / ANSWERS_FILE).exists()


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (
            "minimal",
            {
                "infrastructure": [],
                "queue_engines": [],
                "background": [],
                "features": [],
                "deployment": [],
                "ci": "none",
            },
        ),
        (
            "standard",
            {
                "infrastructure": [
                    "database",
                    "redis",
                    "event_bus",
                    "cache",
                    "rate_limiter",
                    "mail",
                ],
                "queue_engines": ["bullmq"],
                "background": ["deferred", "compute", "outbox"],
                "features": ["users", "avatars", "thumbnails", "welcome"],
                "deployment": ["docker"],
                "ci": "github",
            },
        ),
        (
            "full",
            {
                "infrastructure": [
                    "database",
                    "redis",
                    "event_bus",
                    "cache",
                    "rate_limiter",
                    "mail",
                    "sse",
                    "websockets",
                ],
                "queue_engines": ["bullmq", "rabbitmq"],
                "background": ["deferred", "compute", "outbox"],
                "features": ["users", "avatars", "thumbnails", "welcome", "live_page"],
                "deployment": ["docker", "kubernetes"],
                "ci": "github",
            },
        ),
    ],
)
def test_preset_sets_defaults(
    template: Template, tmp_path: Path, preset: str, expected: dict[str, Any]
) -> None:
    service = render(template, tmp_path / "service", preset=preset)
    answers = recorded(service)
    assert {name: answers[name] for name in expected} == expected


def test_explicit_answer_wins_over_the_preset(template: Template, tmp_path: Path) -> None:
    """Without a database the preset no longer proposes users."""
    service = render(template, tmp_path / "service", preset="full", infrastructure=["redis"])
    answers = recorded(service)
    assert (answers["infrastructure"], answers["features"]) == (["redis"], [])
    assert not (service / "src/app/infrastructure/database").exists()


@pytest.mark.parametrize("answers", VARIANTS.values(), ids=VARIANTS)
def test_nothing_of_jinja_is_left(template: Template, answers: dict[str, Any]) -> None:
    service = template.service(answers).folder
    rendered = {
        str(path.relative_to(template.source / "template")).removesuffix(".jinja")
        for path in (template.source / "template").rglob("*.jinja")
    }
    for name, content in contents(service).items():
        assert not re.search(r"\{\{|\{%|\.jinja$", name), name
        if name in rendered:
            # `${{ … }}` is GitHub's own.
            assert not re.search(rb"(?<!\$)\{\{|\{%|\{#", content), name
            assert re.search(rb"[^\n]\n\Z", content), f"{name} ends in one line break"
            assert not re.search(rb"\n\n\n", content), f"{name} has a gap"
            assert not re.search(rb"[ \t]\n", content), f"{name} has spaces at a line's end"


# Copier leaves the listing of the folder it was in unread when it stops.
@pytest.mark.filterwarnings("ignore:.*ScandirIterator:pytest.PytestUnraisableExceptionWarning")
def test_undefined_name_is_an_error(tmp_path: Path) -> None:
    """A slip in a template fails the copy; it is not rendered as nothing."""
    broken = export(tmp_path / "template")
    with (broken / "template/README.md.jinja").open("a", encoding="utf-8") as readme:
        readme.write("{{ no_such_answer }}\n")
    with pytest.raises(UndefinedError, match="no_such_answer"):
        copy(broken, tmp_path / "service", {})
    assert not (tmp_path / "service").exists()


def test_inline_jinja_stays_within_its_budget() -> None:
    """And Python files hold none at all."""
    sources = [*ROOT.glob("template/**/*.jinja"), *ROOT.glob("includes/**/*.*")]
    count = sum(
        len(re.findall(r"\{%-? *(?:if|elif|for) ", path.read_text(encoding="utf-8")))
        for path in sources
    )
    assert 0 < count <= INLINE_BUDGET
    assert not list(ROOT.glob("template/**/*.py.jinja"))


@pytest.mark.parametrize("text", ['"quoted" and \\n', "it's #1 = [x]", "naïve 😀 {{ 7 * 7 }}"])
def test_free_text_survives_every_format(template: Template, tmp_path: Path, text: str) -> None:
    service = render(template, tmp_path / "service", description=text, author_name=text)
    project = pyproject(service)["project"]
    facts = tomllib.loads((service / "src/app/project.toml").read_text(encoding="utf-8"))
    answers = recorded(service)
    assert project["description"] == facts["description"] == answers["description"] == text
    assert project["authors"] == [{"name": text}]


@pytest.mark.parametrize(
    ("answer", "spdx", "first"),
    [
        ("MIT", "MIT", "MIT License"),
        ("Apache-2.0", "Apache-2.0", "Apache License"),
        ("proprietary", "LicenseRef-Proprietary", "All rights reserved"),
    ],
)
def test_licence_is_the_chosen_one(
    template: Template, tmp_path: Path, answer: str, spdx: str, first: str
) -> None:
    service = render(template, tmp_path / "service", license=answer, author_name="Ada")
    text = (service / "LICENSE").read_text(encoding="utf-8")
    assert first in text
    assert re.search(r"^ *Copyright (\(c\) )?Ada", text, re.MULTILINE)
    assert pyproject(service)["project"]["license"] == spdx


def test_requirements_follow_the_answers(template: Template, default: Path, tmp_path: Path) -> None:
    """A service without a part has neither its requirements nor its pins."""
    service = render(template, tmp_path / "service", infrastructure=["redis"])
    text = (service / "pyproject.toml").read_text(encoding="utf-8")
    for name in ("sqlalchemy", "alembic", "asyncpg", "aiosqlite", "pgserver", "argon2"):
        assert name in (default / "pyproject.toml").read_text(encoding="utf-8")
        assert name not in text
    assert "redis" in text


def test_every_requirement_is_capped(default: Path) -> None:
    """Below something, so that a breaking release can't reach a service by itself."""
    data = pyproject(default)
    lines = data["project"]["dependencies"] + data["dependency-groups"]["dev"]
    lines += data["build-system"]["requires"]
    for line in lines:
        assert {spec.operator for spec in Requirement(line).specifier} == {">=", "<"}, line


@pytest.mark.parametrize(
    "group", [path.stem for path in sorted((ROOT / "includes/requirements").glob("*.txt"))]
)
def test_every_requirement_has_a_pin_that_meets_it(group: str) -> None:
    """`scripts/pins.py` makes them; a requirement changed without running it is noticed here."""
    groups = (group, *BUILDS_ON[group])
    pins = {canonicalize_name(p.name): p for each in groups for p in requirements(each, "pins")}
    for requirement in requirements(group):
        pin = pins[canonicalize_name(requirement.name)]
        assert str(pin.specifier).startswith("==")
        assert requirement.specifier.contains(str(pin.specifier).removeprefix("=="))


def test_names_that_are_taken_are_those_of_the_pins() -> None:
    """The question for the name refuses every package of any service."""
    folder = ROOT / "includes/pins"
    groups = {path.stem for path in folder.glob("*.txt")} - {"names"}
    pinned = {
        canonicalize_name(pin.name) for group in groups for pin in requirements(group, "pins")
    }
    taken = (folder / "names.txt").read_text(encoding="utf-8").split()
    assert set(taken) == pinned
