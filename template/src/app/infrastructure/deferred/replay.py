"""The worker's side: read a recorded call, check it against today's code, make it."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from dishka import AsyncContainer
from loguru import logger
from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from app.core.deferring import CallableLater
from app.core.discovery import Registry
from app.core.errors import ForbiddenError
from app.infrastructure.deferred.calls import Call, Step, read_envelope
from app.infrastructure.deferred.catalog import JOB_PREFIX, Catalog, Deferrable
from app.infrastructure.deferred.errors import InvalidCallError
from app.infrastructure.deferred.ports import IDEMPOTENCY, OnceOnly
from app.infrastructure.deferred.signing import Signer
from app.infrastructure.logger import LogContext, current_context, in_context
from app.infrastructure.queue import Job, JobContext, JobHandler, JobOptions, RejectJobError

ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


@dataclass(frozen=True, slots=True)
class OnBehalfOf:
    """A module contributes it to look, in the worker, whether the caller still may.

    `check` gets the caller's context (user, role, tenant, locale), the call, and the container
    scope of the job. What it raises is a failed attempt; `ForbiddenError` or `PermissionError` ends
    the job at once.
    """

    check: Callable[[LogContext, Call, AsyncContainer], Awaitable[None]]


class Replayer:
    """Makes recorded calls."""

    def __init__(
        self, signer: Signer, checks: Iterable[OnBehalfOf], once: OnceOnly | None = None
    ) -> None:
        """Believe what the signer accepts, and ask the checks; `once` keeps keys and results."""
        self._signer = signer
        self._checks = tuple(checks)
        self._once = once

    async def replay(self, target: Deferrable, job: Job, scope: AsyncContainer) -> Outcome:
        """Make the call of a job, and return what came of it.

        Raises:
            RejectJobError: the call can't be made, by this version of the service or at all.
        """
        call = self._read(target, job)
        await self.ask(call, scope)

        key = job.headers.get(IDEMPOTENCY)
        if not key:
            return Outcome(await _made(call, scope), call.steps[-1].method.result)
        if self._once is None:
            message = f"{call.path} has an idempotency key, and no module here keeps those"
            raise RejectJobError(message)

        async def make() -> Any:
            return _as_json(call, await _made(call, scope))

        return Outcome(await self._once.run(scope, f"{call.path}:{key}", make), ANYTHING)

    def _read(self, target: Deferrable, job: Job) -> Call:
        """Return the call, every name and argument of it checked before anything is run."""
        try:
            self._signer.check(job)
            return read_envelope(target, job.body)
        except InvalidCallError as error:
            logger.bind(security="deferred").error("A deferred call is refused: {}", error.detail)
            raise RejectJobError(error.detail) from error

    async def ask(self, call: Call, scope: AsyncContainer) -> None:
        """Ask the checks whether a call may be made.

        Raises:
            RejectJobError: it may not.
        """
        try:
            for item in self._checks:
                await item.check(current_context(), call, scope)
        except (ForbiddenError, PermissionError) as error:
            text = f"{call.path}: the caller may not, any more: {error}"
            logger.bind(security="deferred").error("A deferred call is refused: {}", text)
            raise RejectJobError(text) from error


async def _made(call: Call, scope: AsyncContainer) -> Any:
    value: Any = await scope.get(call.target.provider)
    for step in call.steps:
        if step is not call.steps[0] and not isinstance(value, step.method.owner):
            message = f"{step.method.title} is to be called on a {type(value).__name__}"
            raise RejectJobError(message)
        value = await _make(step, value, is_last=step is call.steps[-1])
    return value


async def _make(step: Step, target: object, *, is_last: bool) -> Any:
    method = step.method
    if is_last and not method.is_async:
        # What does the work may block; what prepares it, `to(...)`, is not worth a thread.
        value = await asyncio.to_thread(in_context(method.call), target, step.arguments)
    else:
        value = method.call(target, step.arguments)
    return await value if inspect.isawaitable(value) else value


def _as_json(call: Call, value: Any) -> Any:
    """Return a result as JSON knows values, to be kept with its key.

    Raises:
        RejectJobError: it is not what the method says; doing it again would not change that.
    """
    adapter = call.steps[-1].method.result
    if adapter is None or value is None:
        return None
    try:
        return adapter.dump_python(value, mode="json", warnings="error")
    except (PydanticSerializationError, ValueError) as error:
        message = f"{call.path} is undone, as what it returned can't be kept: {error}"
        raise RejectJobError(message) from error


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call returned, and what writes that."""

    value: Any
    adapter: TypeAdapter[Any] | None


class _OutcomeAdapter:
    """Writes outcomes, after the scope of the job has closed: what was done is committed then."""

    def dump_json(self, outcome: Outcome, /, *, warnings: Literal["error"]) -> bytes:
        """Return it as JSON; null, where JSON can't hold such values."""
        if outcome.adapter is None or outcome.value is None:
            return b"null"
        return outcome.adapter.dump_json(outcome.value, warnings=warnings)

    def validate_json(self, data: str, /, **_: bool) -> Any:
        """Return a result as it is: who published by name knows no type."""
        return json.loads(data)


def handlers(registry: Registry) -> Iterable[JobHandler[Any, Any]]:
    """Return a handler of jobs for each deferrable class, under each of its names."""
    for name, target in Catalog(registry.contributions(CallableLater)).names.items():
        yield JobHandler(
            name=JOB_PREFIX + name,
            function=partial(_handle, target),
            options=JobOptions(),
            payload=None,
            result=_OutcomeAdapter(),
            services={"replayer": Replayer, "scope": AsyncContainer},
            context_parameter="context",
            more_queues=target.queues(),
        )


async def _handle(
    target: Deferrable, *, context: JobContext, replayer: Replayer, scope: AsyncContainer
) -> Outcome:
    return await replayer.replay(target, context.job, scope)
