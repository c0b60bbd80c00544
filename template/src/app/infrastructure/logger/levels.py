"""Levels per logger, changeable while the service runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from loguru import logger

from app.core.errors import ConfigurationError

DEFAULT = ""
"""Name under which the level of everything else is kept."""


class Levels:
    """The level of each logger: that of the longest configured prefix of its name."""

    def __init__(self) -> None:
        """Begin with INFO for everything."""
        self.by_name: Mapping[str, int] = {DEFAULT: logging.INFO}
        self.on_change: Callable[[], None] | None = None
        """Called after each change."""
        self._cache: dict[str, int] = {}

    @property
    def lowest(self) -> int:
        """The lowest level of any logger."""
        return min(self.by_name.values())

    def of(self, name: str) -> int:
        """Return the level of a logger."""
        cache = self._cache
        found = cache.get(name)
        if found is None:
            found = cache[name] = self._look_up(name)
        return found

    def _look_up(self, name: str) -> int:
        while name and name not in self.by_name:
            name = name.rpartition(".")[0]
        return self.by_name[name]

    def replace(self, by_name: Mapping[str, int]) -> None:
        """Set all levels at once, for the standard library's loggers too.

        They must know as well: SQLAlchemy, say, asks its logger whether to write statements.
        """
        for name in self.by_name.keys() - by_name.keys():
            logging.getLogger(name).setLevel(logging.NOTSET)
        for name, level in by_name.items():
            logging.getLogger(name or None).setLevel(level)
        # New objects: another thread that is looking a level up keeps those it began with.
        self.by_name, self._cache = dict(by_name), {}
        if self.on_change:
            self.on_change()


levels = Levels()


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
    levels.replace({**levels.by_name, name: level_number(level)})
