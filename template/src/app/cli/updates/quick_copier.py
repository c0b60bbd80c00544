"""Run Copier, which then does once what it does for each file.

It takes every part of every path for a text of Jinja's, gathers all answers to render it, compiles
`src` anew for each file in it, and asks git each time whether file modes count: that is more than
half of the time of an update (Copier 9.19). What it writes is the same. A Copier that is built in
another way is left alone, and so is a template with `{% yield %}`: there a text is more than its
result.
This is a program for the interpreter that has Copier: `python quick_copier.py update --defaults`.
"""

from __future__ import annotations

import importlib
import runpy
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

yielding: WeakSet[Any] = WeakSet()
"""Environments of templates with `{% yield %}`."""


def compile_once() -> None:
    """Have Jinja remember, for each environment, the texts it has compiled."""
    kind: Any = importlib.import_module("jinja2").Environment  # Copier's, not the service's
    from_string = kind.from_string
    known: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()

    def remembering(self: Any, source: Any, *more: Any, **options: Any) -> Any:
        if more or options or not isinstance(source, str) or self in yielding:
            return from_string(self, source, *more, **options)
        if "yield" in source:
            yielding.add(self)
        compiled = known.setdefault(self, {})
        if source not in compiled:
            compiled[source] = from_string(self, source)
        return compiled[source]

    kind.from_string = remembering


def leave_plain_texts(worker: Any) -> None:
    """Have Copier take a text without anything to render, such as `src`, as it is."""
    render: Any = getattr(worker, "_render_string", None)

    def rendering(self: Any, string: Any, *more: Any, **options: Any) -> Any:
        jinja = self.jinja_env
        marks = [jinja.block_start_string, jinja.variable_start_string, jinja.comment_start_string]
        marks += ["\n", jinja.line_statement_prefix or "\n", jinja.line_comment_prefix or "\n"]
        is_plain = isinstance(string, str) and not any(mark in string for mark in marks)
        if is_plain and jinja not in yielding:
            return string
        return render(self, string, *more, **options)

    if render:
        worker._render_string = rendering  # noqa: SLF001 - there is no other place


def ask_git_once(worker: Any) -> None:
    """Have Copier ask once for each folder whether it must keep file modes in git's index."""
    keep: Any = getattr(worker, "_sync_git_index_executable_bit", None)
    known: dict[Path, bool] = {}

    def keeping(self: Any, *path_and_mode: Any) -> None:
        folder = self.subproject.local_abspath
        if folder not in known:
            asked = ("git", "config", "--type=bool", "--get", "core.fileMode")
            answer = subprocess.run(asked, cwd=folder, capture_output=True, check=False)  # noqa: S603 - fixed words
            known[folder] = answer.stdout.strip() == b"false"
        if known[folder]:
            keep(self, *path_and_mode)

    if keep:
        worker._sync_git_index_executable_bit = keeping  # noqa: SLF001 - there is no other place


if __name__ == "__main__":
    sys.path[:] = [place for place in sys.path if place != str(Path(__file__).parent)]  # no shadows
    compile_once()
    with suppress(ImportError, AttributeError):
        worker = importlib.import_module("copier._main").Worker
        leave_plain_texts(worker)
        ask_git_once(worker)
    runpy.run_module("copier", run_name="__main__", alter_sys=True)
