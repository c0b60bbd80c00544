"""A recorded call: what is to be called, in which order, with what; and how it travels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from app.infrastructure.deferred.arguments import Arguments
from app.infrastructure.deferred.catalog import Deferrable
from app.infrastructure.deferred.errors import InvalidCallError
from app.infrastructure.deferred.methods import Method, methods_of
from app.infrastructure.deferred.options import CallOptions

VERSION = 1
"""Of the envelope. A worker understands this one and those before it."""
LONGEST_CHAIN = 32
"""Calls in one chain."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a chain."""

    method: Method
    arguments: Arguments
    """By name, as the worker gets them; only those that were given."""
    body: bytes = b""
    """The arguments as JSON."""

    def __eq__(self, other: object) -> bool:
        """Compare what is called, and with what."""
        if not isinstance(other, Step):
            return NotImplemented
        return (self.method, self.arguments) == (other.method, other.arguments)

    __hash__ = None  # type: ignore[assignment]  # arguments may be dicts

    def __repr__(self) -> str:
        """Return it as it may have been written."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f".{self.method.name}({arguments})"


@dataclass(slots=True, eq=False)
class Call:
    """A chain of calls on one provider: one job."""

    target: Deferrable
    options: CallOptions
    steps: list[Step] = field(default_factory=list)

    def __eq__(self, other: object) -> bool:
        """Compare the calls, not the options."""
        if not isinstance(other, Call):
            return NotImplemented
        return (self.target, self.steps) == (other.target, other.steps)

    __hash__ = None  # type: ignore[assignment]  # it grows while it is recorded

    def __repr__(self) -> str:
        """Return it as it may have been written."""
        return self.target.provider.__name__ + "".join(map(repr, self.steps))

    @property
    def path(self) -> str:
        """What is called, without arguments: `EmailService.to.send`."""
        return ".".join([self.target.wire_name, *(step.method.name for step in self.steps)])

    def envelope(self) -> bytes:
        """Return what travels: JSON with version and calls."""
        calls = b",".join(
            b'{"method":"%b","arguments":%b}' % (step.method.name.encode(), step.body)
            for step in self.steps
        )
        return b'{"version":%d,"calls":[%b]}' % (VERSION, calls)


class _StepRead(BaseModel):
    method: str
    arguments: dict[str, Any]


class _EnvelopeRead(BaseModel):
    """What a newer minor change adds is ignored; a newer version is refused."""

    model_config = ConfigDict(extra="ignore")

    version: int
    calls: list[_StepRead]


def read_envelope(target: Deferrable, body: str) -> Call:
    """Return the call an envelope holds, checked against what the service has today.

    Raises:
        InvalidCallError: it is of a newer version, is no envelope, or names what can't be called
            or does not take these arguments.
    """
    try:
        envelope = _EnvelopeRead.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = f"no deferred call: {first['msg']} at {'.'.join(map(str, first['loc']))!r}"
        raise InvalidCallError(message) from None
    if not 1 <= envelope.version <= VERSION:
        message = (
            f"a deferred call of version {envelope.version}, this worker reads up to {VERSION}: "
            "deploy it anew, then replay the job"
        )
        raise InvalidCallError(message)
    check_length(envelope.calls)
    call = Call(target, {})
    kind: type = target.provider
    for read in envelope.calls:
        method = methods_of(kind).find(read.method)
        call.steps.append(Step(method, method.decode(to_json(read.arguments))))
        if read is not envelope.calls[-1]:
            kind = next_kind(method)
    return call


def check_length(steps: Sequence[Any]) -> None:
    """Refuse chains of no call, or of too many.

    Raises:
        InvalidCallError: with the bound.
    """
    if not 0 < len(steps) <= LONGEST_CHAIN:
        message = f"a chain has 1 to {LONGEST_CHAIN} calls, this one has {len(steps)}"
        raise InvalidCallError(message)


def next_kind(method: Method) -> type:
    """Return the class whose methods may follow a call.

    Raises:
        InvalidCallError: none may; with the reason.
    """
    followed = method.followed
    if followed.kind is None:
        message = f"nothing can be called on the result of {method.title}: it {followed.why_not}"
        raise InvalidCallError(message)
    return followed.kind
