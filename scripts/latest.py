"""`make test-latest`: what the caps allow today, tested; and what lies beyond them.

Two questions about drift. Does a service still work on the newest versions its requirements allow,
as somebody gets who deletes the pins? And which cap keeps a newer release out, so that a maintainer
may raise it? The first is answered by the payload's tests in an environment of its own, the second
by resolving without caps.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from scripts import processes
from scripts.console import CommandError, Steps, say
from scripts.tools import CACHE, PINS, REQUIREMENTS, ROOT, ensure_uv

PAYLOAD = ROOT / "template"
PYTHON_FLOOR = "3.11"
PINNED = re.compile(r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)", re.MULTILINE)
RUNNER = "pytest-xdist>=3.8,<4"
"""As in pyproject.toml: this repository has it, a service need not."""
TESTS = ("-m", "pytest", "-q", "-m", "not slow", "-n", "2", "-p", "no:cacheprovider")


def requirements(paths: Iterable[Path] = REQUIREMENTS) -> list[Requirement]:
    """Return every requirement of the groups."""
    return [
        Requirement(line)
        for path in paths
        for line in path.read_text(encoding="utf-8").splitlines()
        if line
    ]


def without_cap(requirement: Requirement) -> Requirement:
    """Return a requirement without its upper bound."""
    free = Requirement(str(requirement))
    kept = [str(each) for each in requirement.specifier if each.operator not in {"<", "<="}]
    free.specifier = SpecifierSet(",".join(kept))
    return free


def resolve(uv: Path, wanted: Iterable[Requirement]) -> dict[str, str]:
    """Return the newest versions that go together, by package.

    Raises:
        CommandError: there are none, or the packages can't be reached.
    """
    command: list[str | Path] = [
        uv,
        "pip",
        "compile",
        "--universal",
        "--python-version",
        PYTHON_FLOOR,
        "--upgrade",
    ]
    command += ["--quiet", "--no-header", "--no-annotate", "-"]
    text = "\n".join(map(str, wanted))
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        message = f"nothing goes together: {done.stderr.strip()[-600:]}"
        raise CommandError(message)
    return versions(done.stdout)


def versions(text: str) -> dict[str, str]:
    """Return the versions of a list of pins. Of several for one package the last counts."""
    return {canonicalize_name(name): version for name, version in PINNED.findall(text)}


def pinned(paths: Iterable[Path] = PINS) -> dict[str, str]:
    """Return the versions this tree is tested with."""
    return versions("\n".join(path.read_text("utf-8") for path in paths if path.exists()))


def moved(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Return a line for each package that has another version."""
    return [
        f"{name}: {old[name]} → {version}"
        for name, version in sorted(new.items())
        if old.get(name, version) != version
    ]


def held(wanted: Iterable[Requirement], newest: Mapping[str, str]) -> list[str]:
    """Return a line for each requirement whose cap keeps the newest version out."""
    lines = {
        f"{each.name}: {newest[name]} is out, {each.specifier} keeps it away"
        for each in wanted
        if (name := canonicalize_name(each.name)) in newest
        and not each.specifier.contains(newest[name], prereleases=True)
    }
    return sorted(lines)


def show(title: str, lines: Sequence[str], nothing: str) -> None:
    """Print lines under a title, or that there are none."""
    say(f"\n{title}")
    for line in lines or [nothing]:
        say(f"  {line}")


def test_on(uv: Path, found: Mapping[str, str], folder: Path) -> None:
    """Run the payload's tests in an environment of these versions.

    Raises:
        CommandError: they can't be installed, or a test fails.
    """
    python = folder / "bin" / "python"
    constraints = folder.with_suffix(".txt")
    what = [word for path in REQUIREMENTS for word in ("--requirements", path)]
    text = "".join(f"{name}=={version}\n" for name, version in sorted(found.items()))
    constraints.write_text(text, encoding="utf-8")
    commands: tuple[list[str | Path], ...] = (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder],
        [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            python,
            *what,
            RUNNER,
            "--constraints",
            constraints,
        ],
        [python, *TESTS],
    )
    for command in commands:
        code, _ = processes.run(command, cwd=PAYLOAD)
        if code != 0:
            message = f"`{' '.join(map(str, command[:3]))} …` exits {code}"
            raise CommandError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Report, and test what the caps allow unless told not to; return the exit code."""
    parser = argparse.ArgumentParser(prog="make test-latest", description=__doc__)
    parser.add_argument("--report", action="store_true", help="resolve only, run no test")
    chosen = parser.parse_args(argv)
    steps = Steps()
    try:
        with processes.in_charge():
            uv, wanted = ensure_uv(), requirements()
            with steps.step("resolve: newest allowed, newest at all"):
                allowed = resolve(uv, wanted)
                newest = resolve(uv, map(without_cap, wanted))
            show("Newer, and allowed", moved(pinned(), allowed), "nothing: the pins are the newest")
            show("Newer, and capped", held(wanted, newest), "nothing: no cap holds anything back")
            if not chosen.report:
                with steps.step("payload tests on the newest allowed"):
                    test_on(uv, allowed, CACHE / "latest")
    except CommandError:
        pass  # its step has said it
    steps.report()
    return 1 if steps.failed else 0


if __name__ == "__main__":
    sys.exit(main())
