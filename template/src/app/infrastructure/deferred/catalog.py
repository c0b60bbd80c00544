"""Which classes may be called from afar, and what they are called on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from app.core.deferring import CallableLater
from app.core.errors import ConfigurationError
from app.infrastructure.deferred.errors import InvalidCallError
from app.infrastructure.deferred.methods import Method, Methods, methods_of
from app.infrastructure.deferred.options import declared_on
from app.infrastructure.queue import JobOptions
from app.infrastructure.queue.options import OptionChanges

JOB_PREFIX = "deferred."
"""Of the names of the jobs; the class's name follows."""


@dataclass(frozen=True, slots=True)
class Deferrable(CallableLater):
    """A module contributes one for each class whose public methods may be called from afar."""

    @property
    def wire_name(self) -> str:
        """Its name on the wire."""
        return self.name or self.provider.__name__

    @property
    def methods(self) -> Methods:
        """What can be called on it."""
        return methods_of(self.provider)

    def options(self, last: Method) -> JobOptions:
        """Return the defaults of a chain that ends with a method."""
        return _defaults(self.provider, last)

    def queues(self) -> frozenset[str]:
        """Return the queues its calls are in by default."""
        return frozenset(self.options(method).queue for method in self.methods)


@cache
def _defaults(provider: type, last: Method) -> JobOptions:
    declared: OptionChanges = {**declared_on(provider).options, **last.declared.options}
    return JobOptions().changed(declared)


class Catalog:
    """The deferrable classes of the service."""

    def __init__(self, items: Iterable[CallableLater]) -> None:
        """Collect them, also those of modules that know nothing of this one.

        Raises:
            ConfigurationError: two have the same name, or one a name that can't be used.
        """
        self._by_class: dict[type, Deferrable] = {}
        self._by_name: dict[str, Deferrable] = {}
        for listed in items:
            item = Deferrable(listed.provider, listed.name, listed.aliases)
            self._by_class[item.provider] = item
            for name in (item.wire_name, *item.aliases):
                if not name.isidentifier() or name.startswith("_"):
                    message = f"a deferrable is called like a class, unlike {name!r}"
                    raise ConfigurationError(message)
                if name in self._by_name:
                    message = f"two deferrables are called {name!r}: give one another `name`"
                    raise ConfigurationError(message)
                self._by_name[name] = item

    def __iter__(self) -> Iterator[Deferrable]:
        """Yield them by name."""
        return iter(sorted(self._by_class.values(), key=lambda item: item.wire_name))

    @property
    def names(self) -> Mapping[str, Deferrable]:
        """By every name that may be on the wire."""
        return self._by_name

    def by_class(self, provider: type) -> Deferrable:
        """Return the entry of a class.

        Raises:
            InvalidCallError: there is none, or it is no class.
        """
        if not isinstance(provider, type):
            shown: Any = provider
            message = f"run(...) takes a class, such as run(EmailService), not {shown!r}"
            raise InvalidCallError(message)
        if provider not in self._by_class:
            message = (
                f"{provider.__name__} is not deferrable: list it in its module, "
                f"`contributes=(Deferrable({provider.__name__}),)`"
            )
            raise InvalidCallError(message)
        return self._by_class[provider]

    def by_name(self, name: str) -> Deferrable:
        """Return the entry of a name.

        Raises:
            InvalidCallError: there is none.
        """
        if name not in self._by_name:
            near = get_close_matches(name, self._by_name, n=1)
            known = f"did you mean {near[0]!r}?" if near else f"there are {sorted(self._by_name)}"
            message = f"nothing deferrable is called {name!r}; {known}"
            raise InvalidCallError(message)
        return self._by_name[name]
