"""Write `includes/env/<module>.env`: what `.env.example` says about each module's settings.

The payload knows its settings; this asks it, so that the example can't drift: a test compares.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from scripts.tools import ROOT

ENV = ROOT / "includes" / "env"
PAYLOAD = ROOT / "template"
ASK = """
import json
from app.cli.settings import as_dotenv, variables
found = variables()
modules = dict.fromkeys(variable.module for variable in found)
print(json.dumps({m: as_dotenv(v for v in found if v.module == m) for m in modules}))
"""
NAME = "#APP_NAME="
ENGINE = "#QUEUE_ENGINE="


def blocks() -> dict[str, str]:
    """Return the lines about each module, by its name, in the order the modules start."""
    answer = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=PAYLOAD,
        env={**os.environ, "PYTHONPATH": "src", "APP_ENV_FILE": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(answer.stdout)
    return {module: _as_answered(text) + "\n" for module, text in found.items()}


def _as_answered(text: str) -> str:
    """Return lines with the defaults a service has by its answers, which the payload has not."""
    text = text.replace(f"{NAME}app", NAME + "{{ project_name }}")
    return re.sub(f"{ENGINE}.*", ENGINE + "{{ queue_engines | sort | first }}", text)


def main() -> None:
    """Write the files, and remove those of modules that are gone."""
    found = blocks()
    ENV.mkdir(exist_ok=True)
    for path in ENV.glob("*.env"):
        if path.stem not in found:
            path.unlink()
    for module, text in found.items():
        Path(ENV / f"{module}.env").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
