"""Modules start in the order of what they require."""

from __future__ import annotations

import pytest

from app.core.errors import ConfigurationError
from app.core.module import Module
from app.core.ordering import order_modules


def named(name: str, *requires: str) -> Module:
    return Module(name=name, summary=name, requires=requires)


def test_a_module_comes_after_all_it_requires() -> None:
    ordered = order_modules([named("a", "c"), named("b"), named("c", "b")])

    assert [m.name for m in ordered] == ["b", "c", "a"]


def test_independent_modules_are_ordered_by_name() -> None:
    ordered = order_modules([named("z"), named("m"), named("a")])

    assert [m.name for m in ordered] == ["a", "m", "z"]


def test_a_missing_requirement_names_both_modules() -> None:
    with pytest.raises(ConfigurationError, match=r"'users' requires 'database', which is not here"):
        order_modules([named("users", "database")])


def test_a_cycle_names_every_module_in_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        order_modules([named("a", "b"), named("b", "c"), named("c", "a"), named("apart")])

    message = str(caught.value)
    assert all(name in message for name in ("a", "b", "c"))
    assert "apart" not in message


def test_a_name_used_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Two modules are called 'twin'"):
        order_modules([named("twin"), named("twin")])
