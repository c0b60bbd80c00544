"""Format Python files this service has written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


def format_python(paths: Iterable[Path]) -> None:
    """Sort imports and format with ruff; leave the files as they are where ruff is missing.

    Ruff is a development dependency: in production images it is not there, and need not be.
    """
    beside_python = str(Path(sys.executable).parent)
    ruff = shutil.which("ruff", path=beside_python) or shutil.which("ruff")
    if ruff:
        files = [str(path) for path in paths]
        for words in (("check", "--fix"), ("format",)):
            subprocess.run([ruff, *words, *files], check=False, capture_output=True)  # noqa: S603 - our own tool on our own files
