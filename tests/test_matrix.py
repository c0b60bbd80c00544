"""Every pair of choices renders to a service that is whole, clean and passes its own tests."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from jinja2 import Environment, StrictUndefined

from tests import rendering
from tests.markdown import broken_links
from tests.matrix import ONCE_EACH, Matrix, Pair, Row, choices, parameters, to_answers, to_row
from tests.questionnaire import questions
from tests.rendering import FEW_EXAMPLES, SERVICE_TESTS, Service, Template

PRESETS = ("minimal", "standard", "full")
RECORD = Path(__file__).with_name("matrix.toml")
ROW_LIMIT = 24
"""Above this the run takes too long: then leave pairs out, and record how many."""

WORDS = {
    "infrastructure.database": r"sqlalchemy|alembic|sqlite|postgres|asyncpg|database_url|app db",
    "infrastructure.redis": r"redis(?!trib)|valkey",
    "infrastructure.mail": r"smtp|app mail|[./]mail\b|mail_(url|from)|jinja2|trustme",
    "infrastructure.rate_limiter": r"rate_limit|app limiter|limits_in_",
    "infrastructure.cache": (
        r"app cache|[./]cache\b(?!/)|docs/cache|\b(enable_cache|cache_\w+)=|tokens_per"
    ),
    "infrastructure.event_bus": r"event_bus|app events|docs/events",
    "infrastructure.sse": r"infrastructure[./]sse\b|_sse\b|sse_|docs/sse",
    "infrastructure.websockets": r"[./]websockets\b(?!\.)|enable_websockets|websocket_redis",
    "queue_engines.bullmq": r"bullmq",
    "queue_engines.rabbitmq": r"rabbitmq|aiormq|amqp",
    "background.deferred": r"run_later|app deferred|infrastructure[./]deferred|deferred_",
    "background.compute": r"@compute|app compute|[./]compute\b|\bcompute_",
    "background.outbox": r"app (outbox|relay)|[./]outbox\b|(outbox|inbox)_",
    "storage.local": r"file_storage|app storage|infrastructure[./]storage",
    "storage.s3": r"\bs3_|[./]s3\b|minio|\bS3\b",
    "storage.azure": r"azure(?!store)",
    "storage.gcs": r"\bgcs\b|gcs_|google cloud storage|firebase",
    "features.users": r"(modules|docs|versions|/)[./]users\b|argon2|pwdlib|email-validator",
    "features.welcome": r"modules[./]welcome\b",
    "features.live_page": r"modules[./]live_page\b|live_page_",
    "features.avatars": r"modules[./]avatars\b|avatar_|pillow",
    "features.thumbnails": r"modules[./]thumbnails\b",
    "deployment.docker": r"docker|compose",
    "deployment.kubernetes": r"kubernetes|kubectl",
    "ci=github": r"\.github/|github actions",
    "ci=gitlab": r"gitlab",
}
"""What must not be named, in any file, when the choice is not made."""

QUEUE = r"job queue|app worker|app jobs|worker_|infrastructure[./]queue"
"""What must not be named where there is no engine at all."""

CODE = {"infrastructure", "queue_engines", "background", "storage", "features"}
"""The questions that decide which code a service has; the others change project files only."""

IMPORT = re.compile(r"\s*(?:from|import)\s")
IMPORT_ALL = """
import importlib, pkgutil, app
for module in pkgutil.walk_packages(app.__path__, "app."):
    if module.name != "app.__main__":
        importlib.import_module(module.name)
"""


@cache
def matrix() -> Matrix:
    """Compute the matrix, with the template's own validators; presets are what Copier says."""
    with TemporaryDirectory() as temporary:
        source = Path(temporary) / "template"
        rendering.export(source, ("copier.yml", "includes"))
        (source / "template").mkdir()

        def ask(answers: rendering.Answers) -> rendering.Answers:
            return rendering.copy(source, Path(temporary) / "service", answers, pretend=True)

        values = parameters(questions())
        found = Matrix(values, legal, [to_row(ask({"preset": name}), values) for name in PRESETS])
        found.fill(ROW_LIMIT)
    return found


JINJA = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 - not for a browser
VALIDATORS = {
    name: JINJA.from_string(question["validator"])
    for name, question in questions().items()
    if "validator" in question
}


def legal(row: Row) -> bool:
    """Tell whether the validators accept a row. Copier takes a hundred times as long to say so."""
    answers = to_answers(row)
    return not any(
        validator.render(answers).strip()
        for name, validator in VALIDATORS.items()
        if name in answers
    )


def named(row: Row) -> str:
    """Return a readable name for a row."""
    chosen = (n.partition(".")[2] if v is True else v for n, v in row.items() if v is not False)
    return "-".join(map(str, chosen))


def answers_of(index: int) -> dict[str, object]:
    """Return the answers of a row; questions outside the pairs take turns."""
    turns = {name: choices(questions()[name]) for name in ONCE_EACH}
    extra = {name: values[index % len(values)] for name, values in turns.items()}
    return {**extra, **to_answers(matrix().rows[index])}


def modules_of(row: Row) -> Row:
    """Return what decides which code a row has."""
    return {n: v for n, v in row.items() if n.partition(".")[0] in CODE}


def missing_together(row: Row) -> set[tuple[str, str]]:
    """Return each two choices of code that a row is without."""
    return set(combinations(sorted(n for n, v in modules_of(row).items() if v is False), 2))


@cache
def rows_to_test() -> frozenset[int]:
    """Return few rows in which every two choices are missing together.

    Where one is missing is what `test_removal.py` looks at, as well as where all of them are.
    """
    rows = {
        index: missing_together(row)
        for index, row in enumerate(matrix().rows)
        if any(modules_of(row).values())
    }
    left, chosen = set().union(*rows.values()), set[int]()
    while left:
        best = max(rows, key=lambda index: len(rows[index] & left))
        chosen.add(best)
        left -= rows[best]
    return frozenset(chosen)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each row's tests to one process, so that it renders and type-checks once."""
    if "index" in metafunc.fixturenames:
        rows = [
            pytest.param(index, id=named(row), marks=pytest.mark.xdist_group(f"row-{index}"))
            for index, row in enumerate(matrix().rows)
            if metafunc.function is not test_its_own_tests_pass or index in rows_to_test()
        ]
        metafunc.parametrize("index", rows)


@pytest.fixture
def service(template: Template, index: int) -> Service:
    return template.service(answers_of(index))


def describe(pair: Pair) -> str:
    return " with ".join(f"{name}={value}" for name, value in pair)


def test_uncovered_pairs_only_fall() -> None:
    """The record holds how many pairs no row holds; lower it when it can be lowered."""
    recorded = tomllib.loads(RECORD.read_text(encoding="utf-8"))
    missing = sorted(map(describe, matrix().missing()))
    assert len(missing) == recorded["uncovered"], (len(missing), missing)


def test_validators_refuse_no_more_than_is_recorded() -> None:
    recorded = tomllib.loads(RECORD.read_text(encoding="utf-8"))
    assert sorted(map(describe, matrix().refused)) == recorded["refused"]


def test_every_choice_knows_the_words_that_go_with_it() -> None:
    """A new feature can't be added without saying how a leftover of it is recognised."""
    switches = {name for name, values in matrix().values.items() if values == (True, False)}
    assert switches <= set(WORDS)


def test_formatter_and_linter_have_nothing_to_say(service: Service) -> None:
    service.python("-m", "ruff", "format", "--check", ".")
    service.python("-m", "ruff", "check", ".")


def test_types_are_strict(service: Service, mypy_cache: Path) -> None:
    service.python("-m", "mypy", "--cache-dir", mypy_cache)
    service.python("-m", "mypy", "--cache-dir", mypy_cache, "tests")


def test_every_module_imports(service: Service) -> None:
    service.python("-W", "error", "-c", IMPORT_ALL)


def test_it_migrates(service: Service, index: int, tmp_path: Path) -> None:
    if not matrix().rows[index]["infrastructure.database"]:
        assert not (service.folder / "migrations").exists()
        return
    url = f"sqlite+aiosqlite:///{tmp_path / 'service.db'}"
    service.python("-m", "app", "db", "upgrade", DATABASE_URL=url)
    service.python("-m", "app", "db", "check", DATABASE_URL=url)


def test_its_own_tests_pass(service: Service) -> None:
    service.python("-m", *SERVICE_TESTS, **FEW_EXAMPLES)


def test_rows_with_the_same_modules_have_the_same_code(template: Template) -> None:
    """So running its tests once speaks for all of them, whatever its project files."""
    codes: dict[str, set[str]] = {}
    for index, row in enumerate(matrix().rows):
        code = template.service(answers_of(index)).code()
        codes.setdefault(named(modules_of(row)), set()).add(code)
    assert {name: len(found) for name, found in codes.items()} == dict.fromkeys(codes, 1)


def test_no_template_syntax_is_left(template: Template, service: Service) -> None:
    """GitHub's `${{ … }}` is theirs; what a mail's template or a page of docs holds is its own."""
    source = template.source / "template"
    rendered = {path.relative_to(source).with_suffix("") for path in source.rglob("*.jinja")}
    for path in service.files():
        assert path.suffix != ".jinja"
        if path in rendered:
            text = (service.folder / path).read_text(encoding="utf-8")
            assert not re.search(r"(?<!\$)\{\{|\{%|\{#", text), path


def test_links_of_its_pages_lead_somewhere(service: Service) -> None:
    pages = [path for path in service.files() if path.suffix == ".md"]
    assert broken_links(service.folder, pages) == []


def test_nothing_names_what_was_left_out(service: Service, index: int) -> None:
    row = matrix().rows[index]
    absent = [WORDS[name] for name, value in row.items() if value is False]
    if not any(value for name, value in row.items() if name.startswith("queue_engines.")):
        absent.append(QUEUE)
    absent += [WORDS[f"ci={name}"] for name in ("github", "gitlab") if row["ci"] != name]
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in service.files()
        for number, line in enumerate(
            [str(path), *(service.folder / path).read_text(encoding="utf-8").splitlines()]
        )
        if absent and re.search("|".join(absent), line, re.IGNORECASE)
        # Code names by importing; its texts and its tests may take anything as an example.
        if path.suffix != ".py" or number == 0 or IMPORT.match(line)
    ]
    assert not found, "\n".join(found)
