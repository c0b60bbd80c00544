"""What pages show of Python is Python, and what it imports is there."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rendering import ROOT, service_environment

BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
PLACES = ("docs", "docs/guide", "template/docs", "examples")
MISSING = """
import importlib, json, sys
for module, name in json.load(sys.stdin):
    try:
        found = importlib.import_module(module)
        if name and not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")
    except ImportError as error:
        print(error)
"""
MADE_UP = re.compile(r"app\.modules\.(?!users|welcome|avatars|thumbnails|live_page)")


def pages() -> list[Path]:
    """Return every page that shows Python."""
    found = [page for place in PLACES for page in sorted((ROOT / place).glob("*.md*"))]
    return [page for page in found if BLOCK.search(page.read_text(encoding="utf-8"))]


def blocks(page: Path) -> list[str]:
    """Return the Python a page shows."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [re.sub(rf"^{indent}", "", code, flags=re.MULTILINE) for indent, code in found]


def parsed(code: str, page: Path) -> ast.AST:
    """Return what a block says; `await` needs no function around it on a page."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree: ast.AST = compile(code, str(page), "exec", flags)
    return tree


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_python_on_a_page_can_be_read(page: Path) -> None:
    for code in blocks(page):
        parsed(code, page)


def test_what_pages_import_is_there() -> None:
    """Features people are told to write themselves aside."""
    wanted = set()
    for page in pages():
        for code in blocks(page):
            for node in ast.walk(parsed(code, page)):
                if isinstance(node, ast.ImportFrom) and node.module:
                    wanted |= {(node.module, name.name) for name in node.names}
                elif isinstance(node, ast.Import):
                    wanted |= {(name.name, "") for name in node.names}
    asked = sorted(pair for pair in wanted if not MADE_UP.match(pair[0]))
    assert asked
    done = subprocess.run(
        [sys.executable, "-c", MISSING],
        cwd=ROOT / "template",
        env=service_environment(),
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
