"""Put modules in the order they start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from app.core.errors import ConfigurationError
from app.core.module import Module


def order_modules(modules: Sequence[Module]) -> tuple[Module, ...]:
    """Sort so that each module comes after all it requires; by name where either may be first.

    Raises:
        ConfigurationError: a missing requirement, a cycle or a name used twice, with the names.
    """
    by_name = {module.name: module for module in modules}
    for name, count in Counter(module.name for module in modules).items():
        if count > 1:
            message = f"Two modules are called {name!r}: rename one of the folders"
            raise ConfigurationError(message)
    for module in modules:
        for requirement in module.requires:
            if requirement not in by_name:
                message = (
                    f"Module {module.name!r} requires {requirement!r}, which is not here: "
                    f"add app/infrastructure/{requirement} or delete {module.name!r} too"
                )
                raise ConfigurationError(message)
    sorter = TopologicalSorter({m.name: sorted(m.requires) for m in modules})
    ordered: list[Module] = []
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " → ".join(error.args[1])
        message = f"Modules require each other in a circle: {circle}"
        raise ConfigurationError(message) from None
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        ordered += [by_name[name] for name in ready]
        sorter.done(*ready)
    return tuple(ordered)
