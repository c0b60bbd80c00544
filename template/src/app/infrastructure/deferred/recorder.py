"""Records calls that are written as if they were made: `run(EmailService).to("a@b.c").send()`.

`run(X)` is typed as `X`, so editors complete it and type checkers check it. What it really returns
only looks up methods in tables and keeps arguments as JSON; nothing of `X` is run.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn, TypeVar, Unpack, cast

from app.infrastructure.deferred.calls import Call, Step, check_length, next_kind
from app.infrastructure.deferred.catalog import Catalog, Deferrable
from app.infrastructure.deferred.errors import InvalidCallError, UnknownMethodError
from app.infrastructure.deferred.methods import Method, methods_of
from app.infrastructure.deferred.options import CallOptions

ProviderT = TypeVar("ProviderT")


class Recorder:
    """What `run_later` hands to its function; by convention it is called `run`."""

    def __init__(self, catalog: Catalog) -> None:
        """Record calls of what is in the catalog."""
        self._catalog = catalog
        self._calls: list[Call] | None = []

    def __call__(self, provider: type[ProviderT], **options: Unpack[CallOptions]) -> ProviderT:
        """Begin a chain on a class; options are for this chain alone.

        Raises:
            InvalidCallError: the class is not deferrable.
        """
        return cast("ProviderT", self._begin(self._catalog.by_class(provider), options))

    def __getitem__(self, name: str) -> Any:
        """Begin a chain on a class by its name: `run["EmailService"]`.

        Raises:
            InvalidCallError: nothing deferrable is called so.
        """
        return self._begin(self._catalog.by_name(name), {})

    def __getattr__(self, name: str) -> Any:
        """Begin a chain on a class by its name: `run.EmailService`.

        Raises:
            UnknownMethodError: nothing deferrable is called so.
        """
        try:
            return self[name]
        except InvalidCallError as error:
            raise UnknownMethodError(error.detail) from None

    def finish(self) -> list[Call]:
        """Return the calls in the order they were begun, and record no more.

        Raises:
            InvalidCallError: there are none, or something was begun and not called.
        """
        calls, self._calls = self._open(), None
        if not calls:
            message = "nothing was recorded: call something, such as run(EmailService).send()"
            raise InvalidCallError(message)
        for call in calls:
            if not call.steps:
                message = f"{call!r} was begun, but no method of it was called"
                raise InvalidCallError(message)
        return calls

    def begin(self, target: Deferrable, options: CallOptions) -> Call:
        """Add a chain that has no call yet.

        Raises:
            InvalidCallError: the recording is over.
        """
        calls = self._open()
        calls.append(call := Call(target, options))
        return call

    def check_open(self) -> None:
        """Refuse what comes after the end.

        Raises:
            InvalidCallError: the recording is over.
        """
        self._open()

    def _begin(self, target: Deferrable, options: CallOptions) -> _Recorded:
        return _Recorded(_Place(self, self.begin(target, options), 0, target.provider))

    def _open(self) -> list[Call]:
        if self._calls is None:
            message = "the recording is over: calls belong into the function given to run_later"
            raise InvalidCallError(message)
        return self._calls


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a chain a recorded object stands."""

    recorder: Recorder
    call: Call
    position: int
    """How many calls lead to it; 0: the provider itself."""
    kind: type | None
    """Whose methods can be called on it; None: nobody's."""

    def __str__(self) -> str:
        return f"the result of {self.last.title}" if self.position else repr(self.call)

    @property
    def last(self) -> Method:
        return self.call.steps[self.position - 1].method

    def find(self, name: str) -> Method:
        """Return the method of that name."""
        kind = next_kind(self.last) if self.kind is None else self.kind
        return methods_of(kind).find(name)

    def add(self, method: Method, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Recorded:
        """Record a call."""
        self.recorder.check_open()
        call = self.call
        if len(call.steps) != self.position:
            if self.position:
                message = (
                    f"a call follows {self} already: write one chain, or begin another one with "
                    f"run({call.target.provider.__name__})"
                )
                raise InvalidCallError(message)
            call = self.recorder.begin(call.target, call.options)
        for value in chain(args, kwargs.values()):
            if isinstance(value, (_Recorded, _Named)):
                raise _fed(method)
        arguments = method.bind(args, kwargs)
        try:
            body, received = method.encode(arguments)
        except InvalidCallError:
            if _holds_recorded(arguments):
                raise _fed(method) from None
            raise
        call.steps.append(Step(method, received, body))
        check_length(call.steps)
        return _Recorded(_Place(self.recorder, call, len(call.steps), method.followed.kind))


class _Recorded:
    """Stands for a provider, or for what a call will return.

    It has no attribute of its own that anybody could reach: every name is that of a method.
    """

    __slots__ = ("_place",)

    def __init__(self, place: _Place) -> None:
        object.__setattr__(self, "_place", place)

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":  # `isinstance` asks
            return _Recorded
        place = _place(self)
        return _Named(place, place.find(name))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        message = f"{name!r} of {_place(self)} can't be set: only calls are recorded"
        raise InvalidCallError(message)

    def __await__(self) -> Generator[Any, None, _Recorded]:
        # An async method is awaited in the middle of a chain: `(await run(A).first()).second()`.
        yield from ()
        return self

    def __repr__(self) -> str:
        return f"<{_place(self)}, in a worker, later>"

    def _unknown(self, *_: object) -> NoReturn:
        message = (
            f"{_place(self)} is not known yet: only calls are recorded. Chain them, or move what "
            "belongs together into one method"
        )
        raise InvalidCallError(message)

    __call__ = __str__ = __format__ = __bool__ = __iter__ = __len__ = __getitem__ = _unknown
    __contains__ = __enter__ = __aenter__ = __int__ = __float__ = __index__ = _unknown
    __add__ = __radd__ = __eq__ = __lt__ = __gt__ = __le__ = __ge__ = _unknown
    __hash__ = object.__hash__


def _place(recorded: _Recorded) -> _Place:
    place: _Place = object.__getattribute__(recorded, "_place")
    return place


class _Named:
    """A method that is about to be called."""

    __slots__ = ("__method", "__place")

    def __init__(self, place: _Place, method: Method) -> None:
        self.__place = place
        self.__method = method

    def __call__(self, *args: Any, **kwargs: Any) -> _Recorded:
        return self.__place.add(self.__method, args, kwargs)

    def __getattr__(self, name: str) -> NoReturn:
        title = self.__method.title
        message = f"{title} is a method: call it, {title}(...), before {name!r}"
        raise UnknownMethodError(message)

    def __repr__(self) -> str:
        return f"<{self.__method}, to be called>"


def _fed(method: Method) -> InvalidCallError:
    message = (
        f"an argument of {method.title} is the result of another recorded call, which is not known "
        "yet: chain the calls, write one method that makes both, or wait for the first result"
    )
    return InvalidCallError(message)


def _holds_recorded(value: object) -> bool:
    if isinstance(value, (_Recorded, _Named)):
        return True
    if isinstance(value, Mapping):
        return any(map(_holds_recorded, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(map(_holds_recorded, value))
    return False
