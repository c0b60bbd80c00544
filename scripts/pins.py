"""Resolve again the versions this release of the template is tested with.

    uv run --no-project python scripts/pins.py

Reads `includes/requirements/<group>.txt`, resolves all of them together for every platform and
Python version, and writes to `includes/pins/<group>.txt` the versions a group adds to those it
builds on. A service gets the pins of the groups it was generated with, and no other. No address of
a registry is written.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

INCLUDES = Path(__file__).parents[1] / "includes"
REQUIREMENTS = INCLUDES / "requirements"
PINS = INCLUDES / "pins"
PYTHON_FLOOR = "3.11"

BUILDS_ON: dict[str, tuple[str, ...]] = {
    "base": (),
    "database": ("base",),
    "redis": ("base",),
    "queue": ("base", "redis"),
    "bullmq": ("base", "redis", "queue"),
    "rabbitmq": ("base", "redis", "queue"),
    "deferred": ("base", "redis", "queue"),
    "mail": ("base",),
    "objects": ("base",),
    "users": ("base", "database"),
    "avatars": ("base", "database", "users"),
    "dev": ("base",),
    "dev-database": ("base", "database", "dev"),
    "dev-redis": ("base", "redis", "dev"),
    "dev-mail": ("base", "mail", "dev"),
    "dev-websockets": ("base", "dev"),
    "dev-queue": ("base", "redis", "queue", "dev"),
}
"""Each group, and those that are always there when it is."""


def resolve(groups: Iterable[str], constraints: str = "") -> dict[str, str]:
    """Return the resolved lines of the groups together, by package name.

    Args:
        groups: names of files in `includes/requirements`.
        constraints: lines the resolution must agree with.
    """
    command = ["uv", "pip", "compile", "--universal", "--python-version", PYTHON_FLOOR, "--quiet"]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    command += [str(REQUIREMENTS / f"{group}.txt") for group in groups]
    if constraints:
        command += ["--constraint", "-"]
    found = subprocess.run(command, input=constraints, capture_output=True, text=True, check=True)
    return {re.split(r"[=\[ ]", line)[0]: line for line in found.stdout.splitlines()}


def main() -> None:
    """Write the pins of every group, and the names that are taken."""
    everything = resolve(BUILDS_ON)
    agreed = "\n".join(everything.values())
    PINS.mkdir(exist_ok=True)
    for group, below in BUILDS_ON.items():
        added = resolve([*below, group], agreed)
        for name in resolve(below, agreed) if below else ():
            added.pop(name)
        # The marker of the whole is kept: a group's own may be narrower than another group needs.
        lines = [everything[name] for name in added]
        (PINS / f"{group}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        print(f"{group}: {len(lines)}")
    names = "".join(f"{name}\n" for name in everything)
    (PINS / "names.txt").write_text(names, encoding="utf-8")


if __name__ == "__main__":
    main()
