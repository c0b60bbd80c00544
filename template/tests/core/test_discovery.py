"""A folder with a `module.py` is a module; nothing lists it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.core.discovery import discover, import_module_folder, without_collection
from app.core.errors import ConfigurationError
from app.core.folders import module_folders

MakeModule = Callable[[str, str], Path]


@pytest.fixture
def make_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeModule]:
    """Write `<tmp>/fake_app/<place>/module.py` and return the root `<tmp>/fake_app`."""
    monkeypatch.syspath_prepend(tmp_path)
    root = tmp_path / "fake_app"

    def make(place: str, source: str) -> Path:
        folder = root / place
        folder.mkdir(parents=True)
        (folder / "module.py").write_text(source, encoding="utf-8")
        return root

    yield make
    for name in [name for name in sys.modules if name.split(".")[0] == "fake_app"]:
        del sys.modules[name]


DECLARED = """
from app.core.module import Module
module = Module(name={name!r}, summary="made by a test")
"""


def test_every_module_of_this_service_is_found() -> None:
    names = {module.name for module in discover().modules}

    assert names == {folder.name for folder in module_folders()}
    assert {"api", "health", "logger"} <= names


def test_folders_are_found_below_each_layer_and_core_is_none(make_module: MakeModule) -> None:
    root = make_module("api", DECLARED.format(name="api"))
    for place in ("core", "infrastructure/cache", "modules/orders", "modules/deep/er"):
        make_module(place, DECLARED.format(name=place.rsplit("/", 1)[-1]))

    assert [folder.name for folder in module_folders(root)] == ["api", "cache", "orders"]


def test_a_module_file_without_a_module_is_refused(make_module: MakeModule) -> None:
    root = make_module("modules/empty", "")

    with pytest.raises(ConfigurationError, match=r"fake_app\.modules\.empty\.module must define"):
        import_module_folder(root / "modules" / "empty", root)


def test_a_module_must_be_named_after_its_folder(make_module: MakeModule) -> None:
    root = make_module("modules/orders", DECLARED.format(name="order"))

    with pytest.raises(ConfigurationError, match="name it 'orders', after its folder"):
        import_module_folder(root / "modules" / "orders", root)


def test_what_is_imported_is_left_alone_by_the_garbage_collector() -> None:
    frozen = gc.get_freeze_count()
    kept: list[list[int]] = []
    with pytest.raises(ZeroDivisionError), without_collection():
        assert not gc.isenabled()
        kept.extend([] for _ in range(1000))
        _ = 1 / 0

    assert gc.isenabled()
    assert gc.get_freeze_count() >= frozen + len(kept)


def test_who_turned_the_garbage_collector_off_finds_it_off() -> None:
    gc.disable()
    try:
        with without_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
