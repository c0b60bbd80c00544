"""`make release VERSION=0.2.0`: check the tree, write the version down, commit, tag; never push.

The version of the template is the newest tag, `vX.Y.Z`; nothing else says it. What has to name a
version by itself says "unreleased" until now: the changelog's first heading, and the entries of
`includes/changes.yml`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from scripts import releases
from scripts.console import CommandError, say
from scripts.tools import ROOT

VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
"""PEP 440, and nothing but a release: Copier passes over other tags without saying so."""
CHANGELOG, CHANGES = "CHANGELOG.md", "includes/changes.yml"
HEADING = "## Unreleased\n"
GUARDS = ("-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-n", "0")
GUARDED = ("tests/update", "tests/test_hygiene.py", "tests/test_answers.py")


def parsed(version: str) -> tuple[int, ...]:
    """Return a version's numbers.

    Raises:
        CommandError: it is no version of a release.
    """
    if not VERSION.fullmatch(version):
        message = f"{version or 'nothing'} is no version: run `make release VERSION=1.2.3`"
        raise CommandError(message)
    return tuple(map(int, version.split(".")))


def refuse(version: str, folder: Path, tags: Iterable[str]) -> None:
    """Make sure that this can be the next release.

    Raises:
        CommandError: something is not committed, the version is not the next, or nothing changed.
    """
    number = parsed(version)
    if changed := releases.git(folder, "status", "--porcelain").decode():
        message = f"commit or stash first, a release is what is committed:\n{changed}"
        raise CommandError(message)
    known = [tag.removeprefix("v") for tag in tags]
    newer = [each for each in known if VERSION.fullmatch(each) and parsed(each) >= number]
    if newer:
        message = f"{version} is not above {', '.join(newer)}: choose a higher version"
        raise CommandError(message)
    text = (folder / CHANGELOG).read_text(encoding="utf-8")
    if not unreleased(text).strip():
        message = f"{CHANGELOG} has nothing under Unreleased: say what changes for whom"
        raise CommandError(message)


def unreleased(changelog: str) -> str:
    """Return what a changelog says about the release to come."""
    return changelog.partition(HEADING)[2].partition("\n## ")[0]


def stamp(folder: Path, version: str, date: dt.date) -> None:
    """Write a version where the files say "unreleased"."""
    changelog = folder / CHANGELOG
    if changelog.exists():
        text = changelog.read_text(encoding="utf-8")
        stamped = text.replace(HEADING, f"{HEADING}\n## {version} · {date.isoformat()}\n", 1)
        changelog.write_text(stamped, encoding="utf-8")
    changes = folder / CHANGES
    text = changes.read_text(encoding="utf-8")
    stamped = re.sub(r"(?m)^( *-? *release:) *unreleased$", rf'\1 "{version}"', text)
    changes.write_text(stamped, encoding="utf-8")


def run_guards() -> None:
    """Run what keeps releases safe to update to.

    Raises:
        CommandError: a test fails.
    """
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, *GUARDS, *GUARDED], cwd=ROOT, env=env, check=False)
    if done.returncode != 0:
        message = "the guards fail: see above. Nothing was changed"
        raise CommandError(message)


def release(version: str, folder: Path) -> None:
    """Write the version down, keep the release for the tests of later ones, commit and tag."""
    tag = f"v{version}"
    stamp(folder, version, dt.datetime.now(tz=dt.UTC).date())
    kept = folder / releases.RECORDED.relative_to(ROOT)
    releases.record(tag, folder, kept)
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    subprocess.run(
        ["git", "commit", "--quiet", "--message", f"Release {version}"], cwd=folder, check=True
    )
    subprocess.run(
        ["git", "tag", "--annotate", tag, "--message", f"Plinth {version}"], cwd=folder, check=True
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Make the release named on the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="make release", description=__doc__)
    parser.add_argument("version", help="such as 0.2.0")
    version = parser.parse_args(argv).version
    try:
        tags = releases.git(ROOT, "tag").decode().split()
        refuse(version, ROOT, [*tags, *releases.versions()])
        run_guards()
        release(version, ROOT)
    except CommandError as error:
        say(f"no release: {error}", colour="red")
        return 1
    say(f"v{version} is tagged. Look at it, then: git push --follow-tags", colour="green")
    return 0


if __name__ == "__main__":
    sys.exit(main())
