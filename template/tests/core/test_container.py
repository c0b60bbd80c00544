"""The container is one graph over all modules, checked before anything is constructed."""

from __future__ import annotations

from datetime import UTC
from uuid import UUID

import pytest
from dishka import Provider, Scope

from app.core.clock import Clock, ManualClock
from app.core.container import build_container
from app.core.discovery import Registry
from app.core.errors import ConfigurationError
from app.core.ids import IdFactory
from app.core.module import Module
from app.core.settings import AppSettings, load_settings


class Mailer:
    """A service nobody provides unless a test does."""


class Newsletter:
    """A service that needs another."""

    def __init__(self, mailer: Mailer) -> None:
        self.mailer = mailer


def providing(*sources: type) -> Module:
    provider = Provider(scope=Scope.APP)
    for source in sources:
        provider.provide(source)
    return Module(name="mail", summary="test", providers=(provider,))


async def test_clock_ids_and_settings_can_be_injected() -> None:
    container = build_container(Registry(()), load_settings([]))

    clock, ids = await container.get(Clock), await container.get(IdFactory)

    assert clock.now().tzinfo is UTC
    first, second = ids(), ids()
    assert isinstance(first, UUID)
    assert first.version == 7
    assert first < second
    assert (await container.get(AppSettings)).app_name
    await container.close()


async def test_a_module_may_provide_for_another() -> None:
    container = build_container(Registry((providing(Mailer, Newsletter),)), load_settings([]))

    newsletter = await container.get(Newsletter)

    assert newsletter.mailer is await container.get(Mailer)
    await container.close()


def test_a_dependency_nothing_provides_is_refused_by_name_before_the_start() -> None:
    with pytest.raises(ConfigurationError, match="Mailer"):
        build_container(Registry((providing(Newsletter),)), load_settings([]))


def test_two_modules_may_not_provide_the_same_thing() -> None:
    twice = Registry((providing(Mailer), providing(Mailer)))

    with pytest.raises(ConfigurationError, match="Mailer"):
        build_container(twice, load_settings([]))


async def test_a_test_may_replace_a_part() -> None:
    manual = ManualClock()
    override = Provider(scope=Scope.APP)
    override.provide(lambda: manual, provides=Clock, override=True)

    container = build_container(Registry(()), load_settings([]), override)

    assert await container.get(Clock) is manual
    await container.close()
