"""Templates: found, compiled at the start, filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.core.errors import ConfigurationError
from app.infrastructure.mail import MailTemplateError, MailTemplates
from app.infrastructure.mail.templates import Templates
from tests.infrastructure.mail.conftest import TEMPLATES


def templates(*folders: Path) -> Templates:
    return Templates(MailTemplates(folder) for folder in folders)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a whole template."""
    made = tmp_path / "mails"
    made.mkdir()
    for name, text in {"note.subject.txt": "Note", "note.txt": "{{ text }}"}.items():
        (made / name).write_text(text, encoding="utf-8")
    return made


def test_values_are_escaped_in_html_and_nowhere_else() -> None:
    content = templates(TEMPLATES.folder).render("hello", None, {"name": "<b>&", "things": ["<i>"]})
    assert "<p>Dear &lt;b&gt;&amp;</p>" in (content.html or "")
    assert content.text == "Dear <b>&,\n\n- <i>\nwelcome."
    assert content.subject == "Hello <b>&"


@pytest.mark.parametrize(
    ("text", "values", "why"),
    [
        ("{{ missing }}", {}, r"note.txt can't be filled in: 'missing' is undefined"),
        ("{{ user.name }}", {"user": {}}, "has no attribute 'name'"),
        ("{{ 1 / zero }}", {"zero": 0}, "note.txt can't be filled in: ZeroDivisionError"),
        ("{{ text | round }}", {"text": "secret"}, "filled in: TypeError$"),
        ("{% include 'none.txt' %}", {}, "none.txt"),
    ],
)
def test_a_value_that_is_missing_or_does_not_fit_is_an_error(
    folder: Path, text: str, values: dict[str, Any], why: str
) -> None:
    """Which names the file, and no value."""
    (folder / "note.txt").write_text(text, encoding="utf-8")
    with pytest.raises(MailTemplateError, match=why) as caught:
        templates(folder).render("note", None, values)
    assert "secret" not in str(caught.value)
    assert not caught.value.repeatable


def test_an_unknown_template_names_those_there_are(folder: Path) -> None:
    with pytest.raises(MailTemplateError, match=r"'welcome'; there are \['note'\]"):
        templates(folder).render("welcome", None, {})


@pytest.mark.parametrize(
    ("locale", "subject"),
    [
        (None, "Note"),
        ("pt", "Note"),
        ("pt-BR", "Nota do Brasil"),
        ("pt_BR", "Nota do Brasil"),
        ("pt-br", "Nota do Brasil"),
        ("DE", "Notiz"),
        ("pt-BR-x-north", "Nota do Brasil"),
        ("de-AT", "Notiz"),
        ("", "Note"),
        ("*", "Note"),
    ],
)
def test_a_language_falls_back_on_shorter_tags(
    folder: Path, locale: str | None, subject: str
) -> None:
    for tag, text in {"pt-BR": "Nota do Brasil", "de": "Notiz"}.items():
        (folder / f"note.{tag}.subject.txt").write_text(text, encoding="utf-8")
        (folder / f"note.{tag}.txt").write_text("-", encoding="utf-8")
    found = templates(folder)
    assert found.render("note", locale, {"text": ""}).subject == subject
    assert list(found) == [("note", ["default", "de", "pt-BR"])]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("note.html", "{% if %}", "note.html, line 1: Expected an expression"),
        ("Note.txt", "", "is no mail template: it is called NAME.subject.txt"),
        ("note.deutsch.txt", "", "is no mail template"),
        ("other.txt", "", r"'other' needs a file .*other\.subject\.txt"),
        ("note.de.html", "", r"'note' needs a file .*note\.de\.subject\.txt"),
        ("x.de.txt", "", r"'x' needs a file .*x\.subject\.txt"),
    ],
)
def test_a_mistake_shows_when_the_service_starts(
    folder: Path, name: str, text: str, why: str
) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=why):
        templates(folder)


def test_two_folders_can_not_hold_one_template(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "note.txt").write_text("", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="two folders hold a mail template 'note'"):
        templates(folder, other)
    with pytest.raises(ConfigurationError, match="which is no folder"):
        templates(tmp_path / "none")


def test_a_frame_of_another_module_can_be_used(folder: Path) -> None:
    """Its own folder's comes first."""
    html = '{% extends "_frame.html" %}{% block body %}{{ text }}{% endblock %}'
    (folder / "note.html").write_text(html, encoding="utf-8")
    render = templates(TEMPLATES.folder, folder).render
    assert (render("note", None, {"text": "x"}).html or "").startswith("<html><body>x</body>")
    (folder / "_frame.html").write_text("own {% block body %}{% endblock %}", encoding="utf-8")
    render = templates(TEMPLATES.folder, folder).render
    assert render("note", None, {"text": "x"}).html == "own x"
