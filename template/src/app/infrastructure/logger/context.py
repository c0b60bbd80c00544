"""Who and what a log line belongs to, without being passed around."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class LogContext:
    """On every line that is written while it is current."""

    trace_id: str | None = None
    """W3C trace id: 32 hexadecimal digits."""
    span_id: str | None = None
    """This service's part of the trace: 16 hexadecimal digits."""
    user_id: str | None = None
    role: str | None = None
    client_address: str | None = None
    """IP address of the client, as far as trusted proxies vouch for it."""
    user_agent: str | None = None


_current: ContextVar[LogContext] = ContextVar("log_context", default=LogContext())  # noqa: B039 - frozen


def current_context() -> LogContext:
    """Return the context of the running task."""
    return _current.get()


@contextmanager
def bind_context(**changes: str | None) -> Iterator[LogContext]:
    """Change the context for the block: who the user is, say."""
    token = _current.set(replace(_current.get(), **changes))
    try:
        yield _current.get()
    finally:
        _current.reset(token)


def set_user(user_id: str, role: str | None = None) -> None:
    """Name the user of the running request, once it is known who it is."""
    _current.set(replace(_current.get(), user_id=user_id, role=role))


def in_context(function: Callable[P, ResultT]) -> Callable[P, ResultT]:
    """Return `function` bound to the present context, for threads you start yourself.

    Tasks and `asyncio.to_thread` carry the context by themselves; `threading.Thread` and
    `ThreadPoolExecutor` do not before Python 3.14: `Thread(target=in_context(work))`.
    """
    # The copy may be entered by one thread at a time, so each call gets its own.
    context = contextvars.copy_context()

    def run(*args: P.args, **kwargs: P.kwargs) -> ResultT:
        return context.copy().run(partial(function, *args, **kwargs))

    return run


def enter(context: LogContext) -> contextvars.Token[LogContext]:
    """Make a context current; `leave` takes the token."""
    return _current.set(context)


def leave(token: contextvars.Token[LogContext]) -> None:
    """Restore what was current before."""
    _current.reset(token)


def fields(context: LogContext) -> dict[str, Any]:
    """Return what is known, by name."""
    return {
        name: value
        for name, value in (
            ("trace_id", context.trace_id),
            ("span_id", context.span_id),
            ("user_id", context.user_id),
            ("role", context.role),
            ("client_address", context.client_address),
            ("user_agent", context.user_agent),
        )
        if value is not None
    }
