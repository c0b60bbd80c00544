"""Who and what a log line belongs to, without being passed around."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ParamSpec, TypeVar

from app.infrastructure.logger.traceparent import format_traceparent

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
    tenant: str | None = None
    """Whose data is worked on, in a service that keeps several apart."""
    locale: str | None = None
    """Language tag (BCP 47) of the texts the caller wants; passed on, on no line."""
    work_id: str | None = None
    """Names the work that is done, the same at each attempt of it, such as a job; on no line."""
    sampled: bool = True
    """Whether the caller records the trace; passed on, on no line."""

    @property
    def traceparent(self) -> str | None:
        """The W3C header to send along, None outside of a trace."""
        if self.trace_id is None or self.span_id is None:
            return None
        return format_traceparent(self.trace_id, self.span_id, sampled=self.sampled)


_current: ContextVar[LogContext] = ContextVar("log_context", default=LogContext())  # noqa: B039 - frozen


def current_context() -> LogContext:
    """Return the context of the running task."""
    return _current.get()


@contextmanager
def bind_context(**changes: Any) -> Iterator[LogContext]:
    """Change fields of the context for the block, such as `user_id="7"`.

    Raises:
        TypeError: `LogContext` has no such field.
    """
    token = _current.set(replace(_current.get(), **changes))
    try:
        yield _current.get()
    finally:
        _current.reset(token)


def set_user(user_id: str, role: str | None = None) -> None:
    """Name the user of the running request, once it is known who it is.

    It stays until the request ends, on the access line too; so call it in the request's own task,
    such as in an `async` dependency.
    """
    _current.set(replace(_current.get(), user_id=user_id, role=role))


def set_tenant(tenant: str) -> None:
    """Name whose data the running request works on; it holds as long as `set_user` does."""
    _current.set(replace(_current.get(), tenant=tenant))


def set_locale(locale: str) -> None:
    """Name the language of the caller; it holds as long as `set_user` does."""
    _current.set(replace(_current.get(), locale=locale))


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
