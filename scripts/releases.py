"""Earlier releases of the template, kept as patches, and a repository built out of them.

Tests of updates need releases to come from, and a checkout may have neither tags nor history. So
each release leaves in `tests/update/releases` what it changed against the one before it, in a
compressed patch: `v0.2.0.patch.xz`. Applied one after the other they give every release's tree
again, to the byte.
"""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from packaging.version import Version

from scripts.tools import ROOT

RECORDED = ROOT / "tests" / "update" / "releases"
PARTS = ("copier.yml", "includes", "template")
"""What Copier reads of the repository, and so all a release has to keep."""
SUFFIX = ".patch.xz"
NOBODY: Mapping[str, str] = {
    "GIT_AUTHOR_NAME": "Plinth",
    "GIT_AUTHOR_EMAIL": "plinth@example.com",
    "GIT_COMMITTER_NAME": "Plinth",
    "GIT_COMMITTER_EMAIL": "plinth@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
}
"""No developer's name, hooks or signing in what is built here."""


def git(folder: Path, *words: str, data: bytes | None = None) -> bytes:
    """Run git in a folder, under nobody's configuration; return what it prints.

    Raises:
        subprocess.CalledProcessError: it fails.
    """
    command = ["git", "-c", "core.autocrlf=false", *words]
    env = {**os.environ, **NOBODY}
    done = subprocess.run(command, cwd=folder, input=data, env=env, capture_output=True, check=True)
    return done.stdout


def versions(folder: Path = RECORDED) -> list[str]:
    """Return the recorded releases as tags, the oldest first."""
    found = [path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}")]
    return sorted(found, key=Version)


def publish(repository: Path, tag: str) -> None:
    """Commit a repository's working tree and tag it."""
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", tag)
    git(repository, "tag", tag)


def restore(repository: Path, folder: Path = RECORDED) -> Path:
    """Make a git repository with every recorded release tagged, the newest checked out."""
    repository.mkdir(parents=True)
    git(repository, "init", "--quiet", "--initial-branch=main")
    for tag in versions(folder):
        patch = lzma.decompress((folder / f"{tag}{SUFFIX}").read_bytes())
        git(repository, "apply", "--whitespace=nowarn", data=patch)
        publish(repository, tag)
    return repository


def replace_tree(repository: Path, source: Path) -> None:
    """Put the template found in `source` in the place of what a repository has checked out."""
    for part in PARTS:
        target, wanted = repository / part, source / part
        if target.is_dir():
            shutil.rmtree(target)
        if wanted.is_dir():
            shutil.copytree(wanted, target)
        else:
            shutil.copy2(wanted, target)


def record(tag: str, source: Path, folder: Path = RECORDED) -> Path:
    """Keep the template found in `source` as a release; return the patch's path."""
    with tempfile.TemporaryDirectory() as temporary:
        repository = restore(Path(temporary) / "releases", folder)
        replace_tree(repository, source)
        git(repository, "add", "--all")
        patch = git(repository, "diff", "--cached", "--binary", "--full-index", "--no-renames")
    kept = folder / f"{tag}{SUFFIX}"
    kept.write_bytes(lzma.compress(patch, preset=9 | lzma.PRESET_EXTREME))
    return kept
