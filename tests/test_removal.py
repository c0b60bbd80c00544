"""Delete modules' folders, nothing else, and the service is whole without them."""

from __future__ import annotations

import shutil
import sys
from http import HTTPStatus
from pathlib import Path

import pytest

from scripts.servers import free_port
from tests.removals import folder, gone_with, optional, removals
from tests.rendering import (
    FEW_EXAMPLES,
    SERVICE_TESTS,
    Service,
    Template,
    service_environment,
)
from tests.running import answers, running

FULL = {"preset": "full"}


@pytest.fixture(params=removals(), ids=str)
def without(request: pytest.FixtureRequest, template: Template, tmp_path: Path) -> Service:
    """A full service from which optional modules, and those that require them, were deleted."""
    service = template.service(FULL).copied_to(tmp_path / "service")
    for gone in gone_with(request.param.chosen):
        shutil.rmtree(service.folder / folder(gone), ignore_errors=True)
    return service


def test_service_is_whole_without_them(without: Service, mypy_cache: Path, tmp_path: Path) -> None:
    without.python("-m", "ruff", "check", ".")
    without.python("-m", "ruff", "format", "--check", ".")
    without.python("-m", "mypy", "--cache-dir", mypy_cache)
    without.python("-m", *SERVICE_TESTS, **FEW_EXAMPLES)
    assert_it_serves(without, tmp_path / "serve.log")


def test_each_module_goes_while_each_that_can_stay_is_there() -> None:
    for name in optional():
        for other in optional().keys() - gone_with(frozenset({name})):
            gone = (gone_with(removal.chosen) for removal in removals())
            assert any(name in each and other not in each for each in gone), (name, other)


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
