"""Levels per logger, changeable while the service runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from loguru import logger

from app.core.errors import ConfigurationError

_levels: dict[str, int] = {"": 20}
_cache: dict[str | None, int] = {}
_listeners: list[Callable[[], None]] = []


def level_number(name: str) -> int:
    """Return the number of a level.

    Raises:
        ConfigurationError: there is no such level.
    """
    try:
        return logger.level(name.upper()).no
    except ValueError:
        message = f"{name!r} is no log level: use TRACE, DEBUG, INFO, WARNING, ERROR or CRITICAL"
        raise ConfigurationError(message) from None


def set_level(name: str, level: str) -> None:
    """Set the level of a logger and all below it, now: `set_level("app.modules.users", "DEBUG")`.

    The empty name is the level of everything else.

    Raises:
        ConfigurationError: there is no such level.
    """
    replace_levels({**_levels, name: level_number(level)})


def replace_levels(levels: dict[str, int]) -> None:
    """Set all levels at once."""
    _levels.clear()
    _levels.update(levels)
    _cache.clear()
    for listener in _listeners:
        listener()


def on_change(listener: Callable[[], None]) -> None:
    """Call `listener` after each change; once, however often it is registered."""
    if listener not in _listeners:
        _listeners.append(listener)


def lowest() -> int:
    """Return the lowest level of any logger."""
    return min(_levels.values())


def level_of(name: str | None) -> int:
    """Return the level of a logger: that of the longest configured prefix."""
    found = _cache.get(name)
    if found is None:
        found = _cache[name] = _levels[max(_prefixes(name or ""), key=len)]
    return found


def _prefixes(name: str) -> Iterable[str]:
    return (p for p in _levels if not p or name == p or name.startswith(f"{p}."))
