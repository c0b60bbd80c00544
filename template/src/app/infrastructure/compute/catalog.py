"""Which methods are computed elsewhere: those with `@compute` on classes some module provides."""

from __future__ import annotations

import inspect
import types
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from pydantic_core import PydanticSerializationError

from app.core.discovery import Registry
from app.core.errors import ConfigurationError
from app.core.json_names import EITHER_NAME
from app.infrastructure.compute.decorator import Declared, declared_by
from app.infrastructure.compute.errors import NotComputableError
from app.infrastructure.deferred import Deferrable
from app.infrastructure.deferred.arguments import SCHEMA_ERRORS, Arguments
from app.infrastructure.deferred.calls import Call, Step
from app.infrastructure.deferred.methods import Method, method_of
from app.infrastructure.queue import JobOptions

JOB_PREFIX = "compute."
"""Of the names of the jobs; class and method follow."""
RESULT = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")


@dataclass(frozen=True, eq=False)
class ComputeMethod:
    """A method that runs in workers."""

    declared: Declared
    method: Method
    provides: Any
    """What the container is asked for to get the object."""
    component: str

    @property
    def name(self) -> str:
        """Its name on the wire, and in lists."""
        given, owner = self.declared.name, self.method.owner
        if given and self.method.name in vars(owner):
            return given
        return f"{owner.__name__}.{given}" if given else self.method.title  # inherited, or plain

    @property
    def job_name(self) -> str:
        """The name of its jobs."""
        return JOB_PREFIX + self.name

    @property
    def options(self) -> JobOptions:
        """How its jobs are treated."""
        return self.declared.options

    def call(self, arguments: Arguments) -> Call:
        """Return a call, as checks on behalf of the caller see it."""
        target = Deferrable(self.method.owner, self.name.replace(".", "_"))
        return Call(target, {}, [Step(self.method, arguments)])

    def spread(self, arguments: Arguments) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return arguments by name as those of a call."""
        bound = inspect.BoundArguments(self.method.signature, OrderedDict(arguments))
        return bound.args, bound.kwargs

    @cached_property
    def _result(self) -> TypeAdapter[list[Any]]:
        hints = self.method.hints
        if "return" not in hints:
            message = f"{self.method.title} has @compute: annotate what it returns, None included"
            raise ConfigurationError(message)
        # In a list, because the configuration does not count in what has one of its own.
        whole: Any = types.GenericAlias(list, (hints["return"],))
        try:
            return TypeAdapter(whole, config=RESULT)
        except SCHEMA_ERRORS as error:
            why = str(error).partition("\n")[0]
            message = f"{self.method.title} has @compute, and JSON can't hold its result: {why}"
            raise ConfigurationError(message) from error

    def check(self) -> None:
        """Refuse a method whose arguments or result can't travel.

        Raises:
            ConfigurationError: names it, and what is wrong.
        """
        if self.method.problem:
            raise ConfigurationError(self.method.problem.replace("be deferred", "have @compute"))
        _ = self._result

    def write(self, value: Any) -> bytes:
        """Return a result as JSON.

        Raises:
            TypeError: it is not what the method says it returns.
        """
        try:
            return self._result.dump_json([value], warnings="error")[1:-1]
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            message = f"{self.method.title} did not return what it says: {error}"
            raise TypeError(message) from error

    def read(self, body: bytes) -> Any:
        """Return the result `write` wrote."""
        return self._result.validate_json(b"[%b]" % body, **EITHER_NAME)[0]


class ComputeMethods:
    """The methods of the service that run in workers, by name."""

    def __init__(self, items: Iterable[ComputeMethod]) -> None:
        """Collect them.

        Raises:
            ConfigurationError: two have the same name, or one can't be computed elsewhere.
        """
        self._by_name: dict[str, ComputeMethod] = {}
        self._by_place: dict[tuple[type, Declared], ComputeMethod] = {}
        for item in items:
            place = (item.method.owner, item.declared)
            if place in self._by_place:  # provided under several types: one of them will do
                continue
            if item.name in self._by_name:
                message = f"two @compute methods are called {item.name!r}: give one another `name`"
                raise ConfigurationError(message)
            item.check()
            self._by_place[place] = self._by_name[item.name] = item

    def __iter__(self) -> Iterator[ComputeMethod]:
        """Yield them by name."""
        return iter(self._by_name[name] for name in sorted(self._by_name))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._by_name)

    def of(self, target: object, declared: Declared) -> ComputeMethod:
        """Return the entry of an object's method.

        Raises:
            NotComputableError: no module provides such objects.
        """
        for kind in type(target).__mro__:
            if found := self._by_place.get((kind, declared)):
                return found
        title = f"{type(target).__name__}.{declared.function.__name__}"
        message = (
            f"{title} has @compute, but no module provides {type(target).__name__}: add the class "
            "to the provider of its module, so that a worker can make one"
        )
        raise NotComputableError(message)


def find_methods(registry: Registry) -> ComputeMethods:
    """Return the `@compute` methods of the classes the modules provide.

    Raises:
        ConfigurationError: see `ComputeMethods`.
    """
    return ComputeMethods(
        ComputeMethod(
            declared,
            method_of(kind, name, declared.function),
            factory.provides.type_hint,
            factory.provides.component or "",
        )
        for module in registry.modules
        for provider in module.providers
        for factory in provider.factories
        for kind in _made(factory.source, factory.provides.type_hint)
        for name, declared in _computed(kind).items()
    )


def _made(source: object, provides: object) -> Iterator[type]:
    """Yield the class a factory makes objects of: itself, or what its function returns."""
    kind = source if isinstance(source, type) else provides
    if isinstance(kind, type):
        yield kind


def _computed(kind: type) -> Mapping[str, Declared]:
    """Return the methods with `@compute` by name, as an object of the class has them."""
    found: dict[str, object] = {}
    for base in reversed(kind.__mro__):
        found |= vars(base)
    marked = {name: declared_by(value) for name, value in found.items() if callable(value)}
    return {name: declared for name, declared in marked.items() if declared}
