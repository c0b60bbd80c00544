"""What `@cache` knows of a method: its arguments, its key and tags, what it returns."""

from __future__ import annotations

import functools
import inspect
import json
import string
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, TypeVar

from pydantic_core import PydanticSerializationError, to_jsonable_python

from app.infrastructure.cache.codec import Codec, UncacheableError, codec_of
from app.infrastructure.cache.names import HIDDEN, cache_key, checked, hides

ValueT = TypeVar("ValueT")
Key = str | Callable[..., str]
"""A template such as `user:{user_id}`, or what makes a key of the method's arguments."""
_FORMATTER = string.Formatter()
_MISSING = inspect.Parameter.empty


def returned(factory: Callable[..., Awaitable[ValueT]]) -> Codec[ValueT]:
    """Return the codec of what a function returns, by its annotation.

    Raises:
        UncacheableError: it has none, or JSON can't hold that.
        NameError: the annotation names what is not defined yet.
    """
    function: Any = factory
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(getattr(function, "__func__", function))
    title = getattr(function, "__qualname__", repr(function))
    if not inspect.isroutine(function):
        function = type(function).__call__  # an object that can be called
    annotation = typing.get_type_hints(function, include_extras=True).get("return", _MISSING)
    if annotation is _MISSING:
        message = f"{title} does not say what it returns: annotate it, or give `model=`"
        raise UncacheableError(message)
    return codec_of(annotation, title)


class Arguments:
    """The arguments of a call by name, without `self`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Read the signature."""
        self.signature = inspect.signature(function)
        parameters = list(self.signature.parameters.values())
        self.is_method = bool(parameters) and parameters[0].name == "self"
        parameters = parameters[self.is_method :]
        self.names = tuple(parameter.name for parameter in parameters)
        self._defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        self._is_plain = all(parameter.kind in plain for parameter in parameters)
        self._skipped = int(self.is_method)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return them, defaults included.

        Raises:
            TypeError: the method can't be called so.
        """
        if self._is_plain:  # `inspect` takes ten times as long
            found = {**self._defaults, **dict(zip(self.names, args[self._skipped :], strict=False))}
            found.update(kwargs)
            if len(found) == len(self.names) and len(args) - self._skipped <= len(self.names):
                return found
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return {name: bound.arguments[name] for name in self.names}


class Template:
    """A key or tag with arguments in it."""

    def __init__(self, text: str, names: Sequence[str], title: str) -> None:
        """Read it.

        Raises:
            TypeError: it names no argument of the method, or says how to format one.
        """
        self._parts: list[tuple[str, str | None]] = []
        for literal, name, spec, conversion in _FORMATTER.parse(text):
            if spec or conversion:
                message = f"{title}: {text!r} says how to format {name!r}; the cache does that"
                raise TypeError(message)
            if name is not None and name.partition(".")[0] not in names:
                known = ", ".join(names) or "none"
                message = f"{title}: {text!r} names {name!r}; its arguments are {known}"
                raise TypeError(message)
            self._parts.append((literal, name))

    def __call__(self, arguments: Mapping[str, Any]) -> str:
        """Return it with the arguments of one call."""
        return "".join(
            literal if name is None else literal + cache_key(_value(name, arguments))
            for literal, name in self._parts
        )


def _value(name: str, arguments: Mapping[str, Any]) -> Any:
    first, *attributes = name.split(".")
    value = arguments[first]
    for attribute in attributes:
        value = getattr(value, attribute)
    return value


class Naming:
    """Makes the key and the tags of a call."""

    def __init__(self, function: Callable[..., Any], key: Key | None, tags: Sequence[Key]) -> None:
        """Read the signature and the templates.

        Raises:
            TypeError: they do not fit.
        """
        self.title = f"{function.__module__}.{function.__qualname__}".replace(".<locals>", "")
        self.arguments = Arguments(function)
        self._key = self._maker(key) if key is not None else None
        self._tags = [self._maker(tag) for tag in tags]

    def __call__(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[str, tuple[str, ...]]:
        """Return the key and the tags.

        Raises:
            TypeError: the arguments do not fit, or JSON can't tell them from others: without a key
                it would have to.
        """
        bound = self.arguments.bind(args, kwargs)
        key = self._key(args, kwargs, bound) if self._key else self._by_value(bound)
        return checked(key), tuple(tag(args, kwargs, bound) for tag in self._tags)

    def _maker(self, key: Key) -> Callable[[Any, Any, Mapping[str, Any]], str]:
        if not isinstance(key, str):
            return lambda args, kwargs, _: key(*args, **kwargs)
        template = Template(key, self.arguments.names, self.title)
        return lambda _args, _kwargs, bound: template(bound)

    def _by_value(self, bound: Mapping[str, Any]) -> str:
        """Return a key of the method's own: its name, and a digest of the arguments."""
        if hidden := [name for name, value in bound.items() if hides(value)]:
            message = f"{self.title}: of {hidden[0]!r} no key can be made: {HIDDEN}: give `key=`"
            raise TypeError(message)
        try:
            text = json.dumps(to_jsonable_python(bound, bytes_mode="base64"), sort_keys=True)
        except PydanticSerializationError as error:
            message = f"{self.title}: an argument can't be written as JSON ({error}): give `key=`"
            raise TypeError(message) from error
        return f"{self.title}:{sha256(text.encode()).hexdigest()[:32]}"
