"""Delete a module's folder, nothing else, and the service is whole without it."""

from __future__ import annotations

import json
import shutil
import sys
from http import HTTPStatus
from pathlib import Path

import pytest

from scripts.servers import free_port
from tests.questionnaire import questions
from tests.rendering import BRIEF_TESTS, FEW_EXAMPLES, Service, Template, service_environment
from tests.running import answers, running

FULL = {"preset": "full"}
SHOW_MODULES = """
import json
from app.core.discovery import discover
print(json.dumps({module.name: module.requires for module in discover().modules}))
"""
QUEUE = "src/app/infrastructure/queue"
LAYERS = {"infrastructure": "infrastructure", "background": "infrastructure", "features": "modules"}
"""The questions that choose modules, and the layer their folders are in."""


def optional() -> dict[str, str]:
    """Return the folder of each module a question offers, by the module's name."""
    found = {
        name: f"src/app/{layer}/{name}"
        for question, layer in LAYERS.items()
        for name in questions()[question]["choices"].values()
    }
    engines = questions()["queue_engines"]["choices"].values()
    return {**found, "queue": QUEUE, **{f"queue/{name}": f"{QUEUE}/{name}" for name in engines}}


def gone_with(name: str, requires: dict[str, list[str]]) -> set[str]:
    """Return a module and every one that requires it, directly or not."""
    gone = {name}
    while more := {m for m, needed in requires.items() if gone & set(needed)} - gone:
        gone |= more
    return gone


@pytest.fixture(params=[*sorted(optional()), "all of them"])
def without(request: pytest.FixtureRequest, template: Template, tmp_path: Path) -> Service:
    """A full service from which one optional module, and those that require it, were deleted."""
    service = template.service(FULL).copied_to(tmp_path / "service")
    requires = json.loads(service.python("-c", SHOW_MODULES).splitlines()[-1])
    names = optional().keys() if request.param == "all of them" else {request.param}
    for gone in set().union(*(gone_with(name, requires) for name in names)):
        shutil.rmtree(service.folder / optional()[gone], ignore_errors=True)
    return service


def test_service_is_whole_without_it(without: Service, mypy_cache: Path, tmp_path: Path) -> None:
    without.python("-m", "ruff", "check", ".")
    without.python("-m", "ruff", "format", "--check", ".")
    without.python("-m", "mypy", "--cache-dir", mypy_cache)
    without.python("-m", *BRIEF_TESTS, **FEW_EXAMPLES)
    assert_it_serves(without, tmp_path / "serve.log")


def assert_it_serves(service: Service, log: Path) -> None:
    """Start it as a deployment would, wait until it is ready, and stop it with SIGTERM."""
    if (service.folder / "src/app/infrastructure/database").exists():
        service.python("-m", "app", "db", "upgrade")
    port = free_port()
    argv = [sys.executable, "-m", "app", "serve", "--port", str(port)]
    with running(argv, service.folder, service_environment(), log) as server:
        server.wait_until(lambda: answers(f"http://127.0.0.1:{port}/health/ready"))
        assert answers(f"http://127.0.0.1:{port}/no-such-place", HTTPStatus.NOT_FOUND)
        assert server.stop() == 0, server.printed()
