"""Describe and check the settings of all modules."""

from __future__ import annotations

import difflib
import json
import os
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import Enum

from dotenv import dotenv_values
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.core.discovery import discover
from app.core.errors import ConfigurationError
from app.core.settings import Unit, env_file, former_names, load_settings, settings_classes

WIDTH = 100


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable."""

    name: str
    module: str
    default: str
    unit: str
    description: str
    required: bool


def variables(module: str | None = None) -> list[Variable]:
    """Return every variable of the service, or of one module.

    Raises:
        ConfigurationError: no such module.
    """
    registry = discover()
    # The folder a class is in: its module's, or that of a part which has settings of its own.
    found = [
        _describe(name, cls.__module__.split(".")[-2], field)
        for cls in settings_classes(registry.modules)
        for name, field in cls.model_fields.items()
    ]
    if module is None:
        return found
    names = sorted({variable.module for variable in found})
    if module not in names:
        message = f"No module {module!r} has settings: choose one of {', '.join(names)}"
        raise ConfigurationError(message)
    return [variable for variable in found if variable.module == module]


def _describe(name: str, module: str, field: FieldInfo) -> Variable:
    unit = next((item.name for item in field.metadata if isinstance(item, Unit)), "")
    default = field.get_default(call_default_factory=True, validated_data={})
    return Variable(
        name=name.upper(),
        module=module,
        default="" if field.is_required() else _spell(default),
        unit=unit,
        description=" ".join((field.description or "").split()),
        required=field.is_required(),
    )


def _spell(value: object) -> str:
    """Return a default as one would write it into an environment."""
    match value:
        case None:
            text = ""
        case SecretStr():
            text = value.get_secret_value()
        case Enum():
            text = str(value.value)
        case bool():
            text = str(value).lower()
        case float():
            text = str(int(value)) if value.is_integer() else f"{value:g}"
        case tuple() | list():
            text = ",".join(map(str, value))
        case dict():
            text = ",".join(f"{name}={item}" for name, item in value.items())
        case _:
            text = str(value)
    return text


def as_json(found: Iterable[Variable]) -> str:
    """Return the variables as JSON."""
    return json.dumps([asdict(variable) for variable in found], indent=2)


def as_table(found: Iterable[Variable]) -> str:
    """Return the variables for people: a block each, grouped by module."""
    lines: list[str] = []
    module = ""
    for variable in found:
        if variable.module != module:
            module = variable.module
            lines += ["", f"[{module}]"]
        default = "required" if variable.required else (variable.default or "empty")
        unit = f" {variable.unit}" if variable.unit else ""
        lines.append(f"{variable.name}  ({default}{unit})")
        lines += textwrap.wrap(
            variable.description, WIDTH - 4, initial_indent="    ", subsequent_indent="    "
        )
    return "\n".join(lines[1:])


def as_dotenv(found: Iterable[Variable]) -> str:
    """Return an `.env` file: every variable commented out at its default."""
    blocks: dict[str, list[str]] = {}
    for variable in found:
        unit = f" [{variable.unit}]" if variable.unit else ""
        text = textwrap.wrap(f"{variable.description}{unit}", WIDTH - 2)
        entry = [f"# {line}" for line in text] + [f"#{variable.name}={variable.default}"]
        blocks.setdefault(variable.module, []).append("\n".join(entry))
    return "\n\n".join(
        f"# --- {module}\n\n" + "\n\n".join(entries) for module, entries in blocks.items()
    )


def findings() -> list[str]:
    """Return what a production environment would refuse or ignore, a line each."""
    modules = discover().modules
    classes = settings_classes(modules)
    known = {name.upper() for cls in classes for name in cls.model_fields}
    renamed = {former: now for cls in classes for former, now in former_names(cls).items()}
    before = os.environ.get("APP_ENV")
    os.environ["APP_ENV"] = "production"
    try:
        found = [str(weakness) for weakness in load_settings(modules).weaknesses()]
    except ConfigurationError as error:
        found = [line.strip() for line in str(error).splitlines()[1:]]
    finally:
        if before is None:
            del os.environ["APP_ENV"]
        else:
            os.environ["APP_ENV"] = before
    return found + [
        _renamed(name, renamed[name.upper()]) if name.upper() in renamed else _unknown(name, known)
        for name in _dotenv_names()
        if name.upper() not in known
    ]


def _dotenv_names() -> list[str]:
    path = env_file()
    return sorted(dotenv_values(path)) if path and path.exists() else []


def _renamed(name: str, now: str) -> str:
    return f"{name}: it is called {now} now, and the old name will go. Fix: rename it"


def _unknown(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name.upper(), sorted(known), n=1)
    hint = f"did you mean {close[0]}?" if close else "remove it, or see `app env` for the names"
    return f"{name}: no module knows this variable of {env_file()}. Fix: {hint}"
