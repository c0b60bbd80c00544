"""The few words of git that are needed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from app.core.errors import ConfigurationError


def run(
    folder: Path, *command: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder; return how it ended and what it printed.

    Raises:
        ConfigurationError: the command is not installed.
    """
    try:
        return subprocess.run(  # noqa: S603 - git, Copier and this project's own tools
            command,
            cwd=folder,
            env=env,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",  # a name of a file may be any bytes
            check=False,
        )
    except FileNotFoundError as error:
        message = f"`{command[0]}` is not installed, and is needed for this"
        raise ConfigurationError(message) from error


def git(folder: Path, *words: str) -> str:
    """Return what a git command prints.

    Raises:
        ConfigurationError: it fails; the message is git's.
    """
    done = run(folder, "git", *words)
    if done.returncode != 0:
        message = f"`git {words[0]}` failed in {folder}: {done.stderr.strip()}"
        raise ConfigurationError(message)
    return done.stdout


def names(folder: Path, *words: str) -> list[str]:
    """Return the names a git command prints with `-z`, relative to the folder."""
    return [name for name in git(folder, *words).split("\0") if name]


def committed(folder: Path, path: str, commit: str = "HEAD") -> bytes | None:
    """Return a file as a commit has it, or None where it has none."""
    words = ["git", "show", f"{commit}:./{path}"]
    done = subprocess.run(words, cwd=folder, capture_output=True, check=False)  # noqa: S603 - git
    return done.stdout if done.returncode == 0 else None


def take_back(folder: Path) -> None:
    """Make a folder what its last commit has, where everything was committed before.

    Paths with conflicts are restored from the commit only, not from the index.

    Raises:
        ConfigurationError: it fails; the message is git's.
    """
    git(folder, "restore", "--staged", "--worktree", ".")
    git(folder, "clean", "-fdq", "--", ".")


def refuse_changes(folder: Path) -> None:
    """Make sure that everything is committed.

    Raises:
        ConfigurationError: something is not, or this is no git repository.
    """
    # Untracked files count whatever git is set to show: `take_back` deletes them.
    status = git(folder, "status", "--porcelain", "--untracked-files=normal", "--", ".")
    if changed := status.splitlines():
        shown = ", ".join(line[3:] for line in changed[:5]) + (" …" if len(changed) > 5 else "")  # noqa: PLR2004 - enough to know them by
        message = f"Commit or stash your changes first, an update is compared with them: {shown}"
        raise ConfigurationError(message)
    marked = git(folder, "ls-files", "-v", "--", ".").splitlines()
    if overlooked := [line[2:] for line in marked if line[:1].islower()]:
        shown = ", ".join(overlooked[:5])
        message = (
            f"git is told to overlook changes of {shown}, and an update that is taken back would "
            "lose them: `git update-index --no-assume-unchanged` first"
        )
        raise ConfigurationError(message)
