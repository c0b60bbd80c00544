"""What can be called on a class: its public methods, their arguments, and what they return.

Everything is read from the class once. Nothing that comes over the wire is ever looked up anywhere
but in these tables.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property
from itertools import takewhile
from typing import Annotated, Any, NotRequired, Self, TypeVar, Union, Unpack

from pydantic import TypeAdapter, ValidationError

from app.infrastructure.deferred.arguments import BYTES, SCHEMA_ERRORS, Adapter, Arguments
from app.infrastructure.deferred.errors import InvalidCallError, UnknownMethodError
from app.infrastructure.deferred.options import DECLARED, Declared, declared_on

LONGEST = 200
"""Characters of a value that an error shows."""
NOT_FOLLOWED: Mapping[Any, str] = {
    inspect.Signature.empty: "does not say what it returns",
    None: "returns None",
    type(None): "returns None",
    Union: "may return several things",
    types.UnionType: "may return several things",
}
"""What a method returns, and why no call can follow it."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What the result of a method is to the next call of a chain."""

    kind: type | None
    """The class whose methods may follow."""
    why_not: str = ""
    """Ends a sentence, where none may."""


@dataclass(frozen=True, eq=False)
class Method:
    """A public method of a class."""

    owner: type
    """The class it is called on; a base of it may define it."""
    name: str
    function: Callable[..., Any]
    signature: inspect.Signature
    """Without `self`."""
    declared: Declared

    @property
    def title(self) -> str:
        """`Class.method`."""
        return f"{self.owner.__name__}.{self.name}"

    def __str__(self) -> str:
        """Return it with its signature."""
        return f"{self.title}{self.signature}"

    @property
    def is_async(self) -> bool:
        """Whether it is written with `async def`."""
        return inspect.iscoroutinefunction(inspect.unwrap(self.function))

    @cached_property
    def problem(self) -> str:
        """Why it can't be deferred; empty: it can."""
        try:
            _ = self._adapter
        except InvalidCallError as error:
            return error.detail
        return ""

    @cached_property
    def followed(self) -> Followed:
        """What the next call of a chain is made on."""
        return _followed(self)

    @cached_property
    def result(self) -> TypeAdapter[Any] | None:
        """Reads and writes what it returns; None: JSON can't hold that, and it is not kept."""
        annotation = _awaited(self.hints.get("return", inspect.Signature.empty))
        if annotation in {inspect.Signature.empty, Self} or _is_open(annotation):
            return None
        # Bytes as in arguments. A model has a configuration of its own, and takes no other.
        for config in (BYTES, None):
            with suppress(*SCHEMA_ERRORS):
                return TypeAdapter(annotation, config=config)
        return None

    @cached_property
    def hints(self) -> Mapping[str, Any]:
        """Its annotations, evaluated.

        Raises:
            InvalidCallError: one of them names what is not there at run time.
        """
        try:
            return typing.get_type_hints(self.function, include_extras=True)
        except NameError as error:
            message = (
                f"{self.title} can't be deferred: {error}; import what its annotations name at run "
                "time, not under TYPE_CHECKING"
            )
            raise InvalidCallError(message) from error

    @cached_property
    def _adapter(self) -> Adapter:
        """Reads and writes the arguments, by name."""
        if inspect.isgeneratorfunction(self.function) or inspect.isasyncgenfunction(self.function):
            message = f"{self.title} can't be deferred: it is a generator"
            raise InvalidCallError(message)
        fields = {}
        for parameter in self.signature.parameters.values():
            annotation = _annotation(self, parameter)
            needed = parameter in self._needed
            fields[parameter.name] = annotation if needed else NotRequired[annotation]
        try:
            return Adapter(fields)
        except SCHEMA_ERRORS:
            raise self._unusable(fields) from None

    def _unusable(self, fields: Mapping[str, Any]) -> InvalidCallError:
        """Find the parameter whose type JSON can't hold."""
        for name, annotation in fields.items():
            try:
                Adapter({name: annotation})
            except SCHEMA_ERRORS as error:
                why = str(error).partition("\n")[0]
                message = (
                    f"{self.title} can't be deferred: its parameter {name!r} can't be written as "
                    f"JSON: {why}"
                )
                return InvalidCallError(message)
        message = f"{self.title} can't be deferred: its parameters can't be written as JSON"
        return InvalidCallError(message)

    @cached_property
    def _needed(self) -> list[inspect.Parameter]:
        """The parameters that every call must give."""
        several = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
        parameters = self.signature.parameters.values()
        return [p for p in parameters if p.default is p.empty and p.kind not in several]

    @cached_property
    def _plain(self) -> tuple[list[str], set[str], set[str]]:
        """Names of the parameters, of those that may be given by name, and of the needed ones.

        Only up to the first that is not plain: by position or name.
        """
        plain = list(
            takewhile(
                lambda parameter: parameter.kind is parameter.POSITIONAL_OR_KEYWORD,
                self.signature.parameters.values(),
            )
        )
        names = [parameter.name for parameter in plain]
        return names, set(names), {parameter.name for parameter in self._needed}

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """Return the arguments of a call by name; only those that were given.

        Raises:
            InvalidCallError: one is missing, or there is no such parameter.
        """
        names, known, needed = self._plain
        if len(args) <= len(names):
            arguments = dict(zip(names, args, strict=False))
            if kwargs.keys() <= known and not kwargs.keys() & arguments.keys():
                arguments |= kwargs
                if needed <= arguments.keys():
                    return arguments
        try:  # takes ten times as long, and knows every kind of parameter and of mistake
            return self.signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            message = f"{self}: {error}"
            raise InvalidCallError(message) from None

    def encode(self, arguments: Arguments) -> tuple[bytes, Arguments]:
        """Return arguments as JSON, and as the worker will get them.

        Raises:
            InvalidCallError: names the argument that is of another type than its parameter, or does
                not come out of JSON as what it was.
        """
        try:
            checked = self._adapter.check(arguments)
        except ValidationError as error:
            raise self._refusal(error) from None
        if found := self._adapter.write(checked):
            return found
        raise self._unwritable(checked)

    def decode(self, body: bytes) -> Arguments:
        """Return the arguments written by `encode`.

        Raises:
            InvalidCallError: they are not what the method takes.
        """
        try:
            return self._adapter.read(body)
        except ValidationError as error:
            raise self._refusal(error) from None

    def call(self, target: object, arguments: Arguments) -> Any:
        """Call it; what it returns may have to be awaited."""
        bound = inspect.BoundArguments(self.signature, OrderedDict(arguments))
        return getattr(target, self.name)(*bound.args, **bound.kwargs)

    def _refusal(self, error: ValidationError) -> InvalidCallError:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"][1:]))
        message = f"{self}: argument {where!r}: {first['msg']}"
        return InvalidCallError(message)

    def _unwritable(self, arguments: Arguments) -> InvalidCallError:
        """Find the argument that JSON can't hold."""
        for name, value in arguments.items():
            alone = Adapter({name: _annotation(self, self.signature.parameters[name])})
            if not alone.write({name: value}):
                message = (
                    f"{self}: argument {name!r} does not survive the way to the worker as JSON: "
                    f"{_described(value)}"
                )
                return InvalidCallError(message)
        message = f"{self}: the arguments can't be written as JSON"
        return InvalidCallError(message)


class Methods:
    """The methods of one class that may be called from afar."""

    def __init__(self, kind: type) -> None:
        """Read the class."""
        self.kind = kind
        self._methods: dict[str, Method] = {}
        self._refused: dict[str, str] = {}
        self._aliases: dict[str, Method] = {}
        for name, value in _public(kind):
            if isinstance(value, types.FunctionType):
                self._methods[name] = method = method_of(kind, name, value)
                self._aliases.update(dict.fromkeys(method.declared.aliases, method))
            else:
                self._refused[name] = f"is a {type(value).__name__}, not a method"

    def __iter__(self) -> Iterator[Method]:
        """Yield them by name."""
        return iter(self._methods[name] for name in sorted(self._methods))

    def find(self, name: str) -> Method:
        """Return the method of that name, or that once had it.

        Raises:
            UnknownMethodError: there is none that may be called.
        """
        method = self._methods.get(name) or self._aliases.get(name)
        if method is None:
            raise UnknownMethodError(self._why_not(name))
        return method

    def _why_not(self, name: str) -> str:
        title = f"{self.kind.__name__}.{name}"
        if name.startswith("_"):
            return f"{title} is private: only public methods can be deferred"
        if name in self._refused:
            return f"{title} {self._refused[name]}: only methods can be deferred"
        near = get_close_matches(name, self._methods, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{self.kind.__name__} has no method {name!r}{hint}"


@cache
def methods_of(kind: type) -> Methods:
    """Return what can be called on a class; it is read once."""
    return Methods(kind)


def _public(kind: type) -> Iterator[tuple[str, object]]:
    """Yield what the service's own classes define: no method of a library's base class."""
    found: dict[str, object] = {}
    for base in reversed(kind.__mro__):
        if _is_own(base, kind):
            found |= {name: value for name, value in vars(base).items() if name[0] != "_"}
    callables = (property, classmethod, staticmethod, types.FunctionType)
    return ((name, value) for name, value in found.items() if isinstance(value, callables))


def _is_own(kind: type, of: type) -> bool:
    return _package(kind) == _package(of)


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def method_of(owner: type, name: str, function: Callable[..., Any]) -> Method:
    """Return a method of a class, public or not."""
    signature = inspect.signature(function)
    shown = [
        parameter.replace(annotation=_shown(parameter.annotation))
        for parameter in list(signature.parameters.values())[1:]
    ]
    returned = _shown(signature.return_annotation)
    return Method(
        owner=owner,
        name=name,
        function=function,
        signature=inspect.Signature(shown, return_annotation=returned),
        declared=declared_on(function),
    )


def _shown(annotation: Any) -> Any:
    """Return an annotation such that it is printed as it was written."""
    return _Written(annotation) if isinstance(annotation, str) else annotation


class _Written(str):
    """An annotation that is text, because of `from __future__ import annotations`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _annotation(method: Method, parameter: inspect.Parameter) -> Any:
    """Return the type of an argument.

    Raises:
        InvalidCallError: there is no annotation, or it leaves the type open.
    """
    annotation = method.hints.get(parameter.name, parameter.empty)
    if annotation is parameter.empty:
        message = f"{method.title} can't be deferred: annotate its parameter {parameter.name!r}"
        raise InvalidCallError(message)
    if _is_open(annotation):
        message = f"{method.title} can't be deferred: {parameter.name!r} may be of any type"
        raise InvalidCallError(message)
    if parameter.kind is parameter.VAR_POSITIONAL:
        return types.GenericAlias(tuple, (annotation, ...))
    if parameter.kind is parameter.VAR_KEYWORD:
        unpacked = typing.get_origin(annotation) is Unpack
        return (
            typing.get_args(annotation)[0]
            if unpacked
            else types.GenericAlias(dict, (str, annotation))
        )
    return annotation


def _awaited(annotation: Any) -> Any:
    """Return what awaiting the result gives, for methods that return something to await."""
    if typing.get_origin(annotation) is Annotated:
        return _awaited(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in {Awaitable, Coroutine}:
        return typing.get_args(annotation)[-1]
    return annotation


def _is_open(annotation: Any) -> bool:
    if isinstance(annotation, TypeVar):
        return True
    return any(_is_open(part) for part in typing.get_args(annotation))


def _followed(method: Method) -> Followed:
    annotation = _awaited(method.hints.get("return", inspect.Signature.empty))
    if annotation is Self:
        return Followed(method.owner)
    origin = typing.get_origin(annotation) or annotation
    if isinstance(origin, type) and (origin is method.owner or DECLARED in vars(origin)):
        return Followed(origin)
    if origin in NOT_FOLLOWED:
        return Followed(None, NOT_FOLLOWED[origin])
    if isinstance(origin, TypeVar):
        return Followed(None, "leaves open what it returns")
    shown = origin.__name__ if isinstance(origin, type) else annotation
    return Followed(None, f"returns {shown}, a class not marked with @deferrable()")


def _described(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= LONGEST else text[:LONGEST] + '…'}"
