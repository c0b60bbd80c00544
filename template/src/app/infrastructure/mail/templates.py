"""Templates of mails: files of the modules that send them, filled in by Jinja.

`welcome.subject.txt` and `welcome.txt` make a mail, `welcome.html` goes beside the text if it is
there. `welcome.de.subject.txt`, `welcome.de.txt` and `welcome.de.html` are the same in German.
Files that begin with `_` are for `{% extends %}` and `{% include %}`, also by other modules; those
of the same folder come first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateError,
    TemplateSyntaxError,
    select_autoescape,
)

from app.core.errors import ConfigurationError
from app.infrastructure.mail.errors import MailTemplateError
from app.infrastructure.mail.letter import Content

SUBJECT, TEXT, HTML = "subject.txt", "txt", "html"
FILE = re.compile(
    r"(?P<name>[a-z][a-z0-9_-]*)(?:\.(?P<locale>[a-z]{2,3}(?:-[a-zA-Z0-9]{2,8})*))?"
    rf"\.(?P<part>{re.escape(SUBJECT)}|{TEXT}|{HTML})"
)
"""`welcome.pt-BR.html`: a name, perhaps a language tag (BCP 47), what it is."""


@dataclass(frozen=True, slots=True)
class MailTemplates:
    """A module contributes one for the folder its templates are in, by custom `templates/mail`."""

    folder: Path


@dataclass(frozen=True, slots=True)
class _Template:
    """One mail, in the languages it is written in."""

    folder: Path
    variants: dict[str, dict[str, str]] = field(default_factory=dict)
    """Files by what they are, by language; that of no language in particular is ``."""


class Templates:
    """The templates of the service."""

    def __init__(self, folders: Iterable[MailTemplates]) -> None:
        """Find and compile all of them: a mistake shows when the service starts.

        Raises:
            ConfigurationError: names the file, and what is wrong with it.
        """
        places = [item.folder for item in folders]
        self._templates: dict[str, _Template] = {}
        self._jinja = {
            place: Environment(
                loader=FileSystemLoader([place, *places]),
                undefined=StrictUndefined,
                autoescape=select_autoescape((HTML,)),
                trim_blocks=True,
                lstrip_blocks=True,
            )
            for place in places
        }
        for place in places:
            self._add(place)
        for name, template in self._templates.items():
            _check_whole(name, template)

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each name with its languages; the one of no language in particular is `default`."""
        for name in sorted(self._templates):
            yield name, [locale or "default" for locale in sorted(self._templates[name].variants)]

    def render(self, name: str, locale: str | None, values: Mapping[str, Any]) -> Content:
        """Fill in a template, in the caller's language if it is written in that.

        Args:
            name: of the template.
            locale: a language tag such as `de-AT`; `de` and then no language stand in for it.
            values: what the template names; HTML in them is escaped in HTML.

        Raises:
            MailTemplateError: there is no such template, or a value is missing or does not fit.
            InvalidMailError: the subject is empty or has line breaks.
        """
        template = self._find(name)
        variants = template.variants
        known = {tag.lower(): tag for tag in variants}
        chosen = next((known[tag] for tag in _fallbacks(locale) if tag in known), "")
        parts = {
            part: self._fill(template.folder / file, values)
            for part, file in variants[chosen].items()
        }
        return Content(
            subject=parts[SUBJECT].strip(),
            text=parts[TEXT],
            html=parts.get(HTML),
            locale=chosen or None,
        )

    def _find(self, name: str) -> _Template:
        if name not in self._templates:
            near = get_close_matches(name, self._templates, n=1)
            known = f"did you mean {near[0]!r}?" if near else f"there are {sorted(self._templates)}"
            message = f"no mail template is called {name!r}; {known}"
            raise MailTemplateError(message)
        return self._templates[name]

    def _fill(self, path: Path, values: Mapping[str, Any]) -> str:
        try:
            return self._jinja[path.parent].get_template(path.name).render(values)
        except TemplateError as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001 - filters raise anything, and quote values
            why = type(error).__name__
        message = f"the mail template {path.name} can't be filled in: {why}"
        raise MailTemplateError(message)

    def _add(self, folder: Path) -> None:
        if not folder.is_dir():
            message = f"MailTemplates names {folder}, which is no folder"
            raise ConfigurationError(message)
        for path in sorted(folder.iterdir()):
            if path.name.startswith((".", "_")) or path.is_dir():
                continue
            found = FILE.fullmatch(path.name)
            if not found:
                message = (
                    f"{path} is no mail template: it is called NAME.subject.txt, NAME.txt or "
                    "NAME.html, with a language before that if you like: NAME.de.txt"
                )
                raise ConfigurationError(message)
            template = self._templates.setdefault(found["name"], _Template(folder))
            if template.folder != folder:
                message = (
                    f"two folders hold a mail template {found['name']!r}, {template.folder} and "
                    f"{folder}: give one another name"
                )
                raise ConfigurationError(message)
            template.variants.setdefault(found["locale"] or "", {})[found["part"]] = path.name
            self._compile(path)

    def _compile(self, path: Path) -> None:
        try:
            self._jinja[path.parent].get_template(path.name)
        except TemplateSyntaxError as error:
            message = f"{path}, line {error.lineno}: {error.message}"
            raise ConfigurationError(message) from None


def _fallbacks(locale: str | None) -> Iterator[str]:
    """Yield a language tag and what stands in for it, the shorter the later (RFC 4647 §3.4).

    In small letters: `pt-br` and `pt-BR` are one (§2 there).
    """
    parts = (locale or "").lower().replace("_", "-").split("-")
    while parts:
        yield "-".join(parts)
        parts.pop()


def _check_whole(name: str, template: _Template) -> None:
    """Refuse a mail without subject or text, and one in particular languages only.

    Raises:
        ConfigurationError: names the file that is missing.
    """
    for locale in ("", *template.variants):
        for part in (SUBJECT, TEXT):
            if part not in template.variants.get(locale, {}):
                file = ".".join(filter(None, (name, locale, part)))
                message = f"the mail template {name!r} needs a file {template.folder / file}"
                raise ConfigurationError(message)
