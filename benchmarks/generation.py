"""How long it takes to generate a service, against what Copier needs for an empty template.

    python -m benchmarks.generation [RUNS]

Both are git repositories with one release and are copied by the command people use, in turns, so
that what else the machine does reaches both. Prints medians and their ratio (aim: at most 2.5), by
the clock and in processor time, which other work on the machine disturbs less.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.rendering import export

COPIER = Path(sys.executable).parent / "copier"
GIT = {"GIT_CONFIG_GLOBAL": os.devnull}
EMPTY = {
    "copier.yml": "_subdirectory: template\nproject_name: my-service\n",
    "template/{{_copier_conf.answers_file}}.jinja": "{{ _copier_answers|to_nice_yaml -}}\n",
}


def release(folder: Path) -> Path:
    """Make a git repository with one release of a folder."""
    identity = ["-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.com"]
    for words in (
        ["init", "--quiet"],
        ["add", "--all"],
        [*identity, "commit", "--quiet", "--message", "v1"],
        ["tag", "v1.0.0"],
    ):
        subprocess.run(["git", *words], cwd=folder, env={**os.environ, **GIT}, check=True)
    return folder


def empty(folder: Path) -> Path:
    """Write a template of one question and the record of its answer."""
    for name, text in EMPTY.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def seconds(template: Path, target: Path) -> tuple[float, float]:
    """Return how long one copy takes, by the clock and in processor time."""
    command = [str(COPIER), "copy", "--defaults", "--quiet", str(template), str(target)]
    start, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True)
    after, end = os.times(), time.perf_counter()
    used = after.children_user - before.children_user
    return end - start, used + after.children_system - before.children_system


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory(prefix="plinth-generation-") as name:
        base = Path(name)
        templates = {
            "empty template": release(empty(base / "empty")),
            "default service": release(export(base / "plinth")),
        }
        taken: dict[str, list[tuple[float, float]]] = {label: [] for label in templates}
        for run in range(runs):
            for label, template in templates.items():
                taken[label].append(seconds(template, base / f"{run} {label}"))
        files = sum(path.is_file() for path in (base / "0 default service").rglob("*"))
    print(f"{runs} runs, {files} files")
    for number, kind in enumerate(("clock", "processor")):
        nothing, service = (
            statistics.median(run[number] for run in runs_taken) for runs_taken in taken.values()
        )
        print(f"{kind}: {service:.2f} s / {nothing:.2f} s = {service / nothing:.2f}")


if __name__ == "__main__":
    main()
