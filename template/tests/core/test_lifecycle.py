"""Modules start in order, each awaited, and stop in reverse even when one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from dishka import AsyncContainer

from app.core.container import build_container
from app.core.discovery import Registry
from app.core.errors import ConfigurationError
from app.core.lifecycle import Lifecycle
from app.core.module import Hook, Module
from app.core.settings import ModuleSettings, Weakness, load_settings


def lifecycle(*modules: Module) -> Lifecycle:
    registry, settings = Registry(modules), load_settings([])
    return Lifecycle(registry, settings, build_container(registry, settings))


class WeakSettings(ModuleSettings):
    """Always good enough for development only."""

    def weaknesses(self) -> Iterable[Weakness]:
        yield Weakness("WEAK_KEY", "it is a sample", "WEAK_KEY=<a long random string>")


class Diary:
    """Notes what the hooks did."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str, error: Exception | None = None) -> Hook:
        async def hook(_: AsyncContainer) -> None:
            await asyncio.sleep(0)
            self.lines.append(line)
            if error:
                raise error

        return hook

    def module(
        self, name: str, *, start: Exception | None = None, stop: Exception | None = None
    ) -> Module:
        return Module(
            name=name,
            summary=name,
            startup=self.write(f"+{name}", start),
            shutdown=self.write(f"-{name}", stop),
        )


async def test_stops_in_reverse_of_the_start() -> None:
    diary = Diary()

    async with lifecycle(diary.module("a"), diary.module("b")):
        assert diary.lines == ["+a", "+b"]

    assert diary.lines == ["+a", "+b", "-b", "-a"]


async def test_a_module_that_fails_to_stop_does_not_keep_the_others_running() -> None:
    diary = Diary()
    running = lifecycle(
        diary.module("a"), diary.module("b", stop=OSError("stuck")), diary.module("c")
    )
    await running.start()

    with pytest.raises(ExceptionGroup) as caught:
        await running.stop()

    assert diary.lines[3:] == ["-c", "-b", "-a"]
    assert [str(error) for error in caught.value.exceptions] == ["stuck"]


async def test_a_failed_start_stops_what_has_started_and_raises_the_cause() -> None:
    diary = Diary()
    failing = lifecycle(
        diary.module("a"), diary.module("b", start=OSError("no route")), diary.module("c")
    )

    with pytest.raises(OSError, match="no route"):
        await failing.start()

    assert diary.lines == ["+a", "+b", "-b", "-a"]


async def test_errors_while_stopping_after_a_failed_start_are_noted_on_the_cause() -> None:
    diary = Diary()
    failing = lifecycle(
        diary.module("a", stop=OSError("also stuck")), diary.module("b", start=OSError("no route"))
    )

    with pytest.raises(OSError, match="no route") as caught:
        await failing.start()

    assert "also stuck" in caught.value.__notes__[0]


async def wait_for_ever(_: AsyncContainer) -> None:
    await asyncio.Event().wait()


async def test_a_start_that_hangs_is_ended_and_names_the_module(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("APP_STARTUP_TIMEOUT", "0.05")
    stuck = Module(name="stuck", summary="stuck", startup=wait_for_ever)

    with pytest.raises(ConfigurationError, match=r"'stuck' did not start within 0\.05 s"):
        await lifecycle(stuck).start()


async def test_a_stop_that_hangs_is_ended_and_the_others_are_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("APP_SHUTDOWN_TIMEOUT", "0.05")
    diary = Diary()
    stuck = Module(name="stuck", summary="stuck", shutdown=wait_for_ever)
    running = lifecycle(diary.module("a"), stuck)
    await running.start()

    with pytest.raises(ExceptionGroup):
        await running.stop()

    assert diary.lines == ["+a", "-a"]


async def test_a_deployed_service_with_weak_settings_starts_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("APP_ENV", "production")
    diary = Diary()
    weak = Module(name="weak", summary="weak", settings=WeakSettings)
    registry, settings = Registry((diary.module("a"),)), load_settings([weak])
    refused = Lifecycle(registry, settings, build_container(registry, settings))

    with pytest.raises(ConfigurationError, match="WEAK_KEY"):
        await refused.start()

    assert diary.lines == []


async def test_all_have_started_before_one_takes_work_and_none_stops_before_all_take_no_more() -> (
    None
):
    diary = Diary()
    modules = [
        Module(
            name=name,
            summary=name,
            startup=diary.write(f"+{name}"),
            ready=diary.write(f"ready {name}"),
            drain=diary.write(f"drain {name}"),
            shutdown=diary.write(f"-{name}"),
        )
        for name in ("a", "b")
    ]

    async with lifecycle(*modules):
        assert diary.lines == ["+a", "+b", "ready a", "ready b"]

    assert diary.lines[4:] == ["drain b", "drain a", "-b", "-a"]
