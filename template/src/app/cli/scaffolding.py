"""Write a feature module from the scaffold files.

A scaffold is a folder of text files with `$placeholders`, laid out as the project is. The one by
this file needs no other module; an infrastructure module may bring a richer one in its own
`scaffold` folder, and so the kind of module that is written follows from what is installed.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Template

from app.core.errors import ConfigurationError
from app.core.folders import APP_ROOT, module_folders
from app.core.formatting import format_python

SCAFFOLD = "scaffold"
SUFFIX = ".txt"
PROJECT = APP_ROOT.parents[1]
RESERVED = {"app", "core", "tests", "test", "modules", "infrastructure", "health", "docs"}
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
MAX_LENGTH = 40
BARE = re.compile(r"\$Entity\b")
"""Where the class itself is named; `${Entity}Service` and the like hide nothing."""
IMPORTED = re.compile(r"^from [\w.]+ import ([^$\n]+)$", re.MULTILINE)


def write_module(name: str, singular: str | None = None, project: Path = PROJECT) -> list[Path]:
    """Write the files of a new feature module; return them, relative to the project.

    Raises:
        ConfigurationError: a name that can't be used, or files that are there already; nothing was
            written.
    """
    one = singular or guess_singular(name)
    refuse_bad_name(name, "module")
    refuse_bad_name(one, "singular")
    words = placeholders(name, one)
    refuse_taken(name, words["Entity"])
    files = dict(_rendered(scaffold_folder(), words))
    taken = [path for path in files if (project / path).exists()]
    if taken or (project / "src/app/modules" / name).exists():
        message = (
            f"There is a module {name!r} already ({taken or 'its folder'}): choose another name"
        )
        raise ConfigurationError(message)
    for path, text in files.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text, encoding="utf-8")
    format_python(project / path for path in files)
    return list(files)


def refuse_bad_name(name: str, what: str) -> None:
    """Check a name a user has chosen.

    Raises:
        ConfigurationError: says what a good one looks like.
    """
    if not _NAME.fullmatch(name) or len(name) > MAX_LENGTH:
        message = (
            f"{name!r} is no {what} name: use lower-case letters, digits and single underscores, "
            f"at most {MAX_LENGTH} characters, such as invoices or order_lines"
        )
    elif keyword.iskeyword(name) or keyword.issoftkeyword(name) or name in sys.builtin_module_names:
        message = f"{name!r} means something in Python: choose another {what} name"
    elif name in RESERVED | {folder.name for folder in module_folders()}:
        message = f"{name!r} is used by the service already: choose another {what} name"
    else:
        return
    raise ConfigurationError(message)


def refuse_taken(name: str, entity: str) -> None:
    """Check that no table is declared twice, and no class hides one its file imports.

    Raises:
        ConfigurationError: says which.
    """
    texts = [source.read_text("utf-8") for source in scaffold_folder().rglob(f"*{SUFFIX}")]
    lines = [line for text in texts if BARE.search(text) for line in IMPORTED.findall(text)]
    models = [folder / "models.py" for folder in module_folders(having="models.py")]
    if entity in re.findall(r"\w+", " ".join(lines)):
        message = f"{name!r} needs a class {entity}, and that is what the new files build on"
        message += ": choose another name, or another --singular"
    elif found := [path for path in models if _declares(path, name)]:
        message = f"There is a table {name!r} already, in {found[0]}: choose another module name"
    else:
        return
    raise ConfigurationError(message)


def _declares(models: Path, table: str) -> bool:
    return f'__tablename__ = "{table}"' in models.read_text("utf-8")


def guess_singular(name: str) -> str:
    """Return what one of `name` is called, by the common rules of English."""
    for ending, replacement in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch")):
        if name.endswith(ending):
            return name.removesuffix(ending) + replacement
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else f"{name}_item"


def placeholders(name: str, singular: str) -> dict[str, str]:
    """Return the words that scaffold files use."""
    camel = "".join(part.capitalize() for part in singular.split("_"))
    return {
        "module": name,
        "entity": singular,
        "Entity": camel,
        "words": singular.replace("_", " "),
        "Words": name.replace("_", " ").capitalize(),
        "many": name.replace("_", " "),
        "test_file": f"test_{name}_api",
        "migration_file": f"{name}_0001_create_{name}",
    }


def scaffold_folder() -> Path:
    """Return the scaffold to use: a module's own if one brings it."""
    richer = module_folders(having=SCAFFOLD)
    own = Path(__file__).parent
    return next((folder for folder in richer if folder != own), own) / SCAFFOLD


def _rendered(folder: Path, words: dict[str, str]) -> Iterator[tuple[Path, str]]:
    for source in sorted(folder.rglob(f"*{SUFFIX}")):
        relative = str(source.relative_to(folder)).removesuffix(SUFFIX)
        text = Template(source.read_text(encoding="utf-8")).substitute(words)
        yield Path(Template(relative).substitute(words)), text
