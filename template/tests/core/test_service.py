"""A part of the service, started for one piece of work."""

from __future__ import annotations

import os

import pytest
from dishka import AsyncContainer

from app.core.discovery import Registry
from app.core.module import Module
from app.core.service import A_LOOK, in_service, part_of
from app.core.settings import AppSettings

SERVER = Module(name="server", summary="test")
STORE = Module(name="store", summary="test", requires=("server",))
OTHER = Module(name="other", summary="test")
ALL = Registry((SERVER, OTHER, STORE))


def test_a_part_is_what_is_named_and_what_it_builds_on() -> None:
    assert part_of(ALL, {"store"}).modules == (SERVER, STORE)


def test_a_part_nobody_has_is_an_error() -> None:
    with pytest.raises(KeyError, match="nowhere"):
        part_of(ALL, {"nowhere"})


def test_a_look_does_nothing_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says; which is as it was afterwards."""
    monkeypatch.setenv("APP_ROLE", "worker")
    monkeypatch.delenv("APP_SIDE_WORK", raising=False)

    async def look(container: AsyncContainer) -> tuple[bool, dict[str, str]]:
        settings = await container.get(AppSettings)
        return settings.app_side_work, {name: os.environ[name] for name in A_LOOK}

    assert in_service(ALL, look) == (False, dict(A_LOOK))
    assert os.environ["APP_ROLE"] == "worker"
    assert "APP_SIDE_WORK" not in os.environ


def test_a_look_that_fails_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ROLE", "worker")

    async def look(_: AsyncContainer) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        in_service(ALL, look)
    assert os.environ["APP_ROLE"] == "worker"
