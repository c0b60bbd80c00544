"""The worker's side: read a recorded call, check it against today's code, make it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from dishka import AsyncContainer
from loguru import logger
from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

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

    async def replay(self, target: Deferrable, job: Job, scope: AsyncContainer) -> Any:
        """Make the call of a job, and return its result as JSON knows values.

        Raises:
            RejectJobError: the call can't be made, by this version of the service or at all.
        """
        call = self._read(target, job)
        await self._ask(call, scope)

        async def make() -> Any:
            value: Any = await scope.get(target.provider)
            for step in call.steps:
                value = await _make(step, value, is_last=step is call.steps[-1])
            return _as_json(call, value)

        key = job.headers.get(IDEMPOTENCY)
        if not key:
            return await make()
        if self._once is None:
            message = f"{call.path} has an idempotency key, and no module here keeps those"
            raise RejectJobError(message)
        return await self._once.run(scope, key, make)

    def _read(self, target: Deferrable, job: Job) -> Call:
        """Return the call, every name and argument of it checked before anything is run."""
        try:
            self._signer.check(job)
            return read_envelope(target, job.body)
        except InvalidCallError as error:
            logger.bind(security="deferred").error("A deferred call is refused: {}", error.detail)
            raise RejectJobError(error.detail) from error

    async def _ask(self, call: Call, scope: AsyncContainer) -> None:
        try:
            for item in self._checks:
                await item.check(current_context(), call, scope)
        except (ForbiddenError, PermissionError) as error:
            text = f"{call.path}: the caller may not, any more: {error}"
            logger.bind(security="deferred").error("A deferred call is refused: {}", text)
            raise RejectJobError(text) from error


async def _make(step: Step, target: object, *, is_last: bool) -> Any:
    method = step.method
    if is_last and not method.is_async:
        # What does the work may block; what prepares it, `to(...)`, is not worth a thread.
        value = await asyncio.to_thread(in_context(method.call), target, step.arguments)
    else:
        value = method.call(target, step.arguments)
    return await value if inspect.isawaitable(value) else value


def _as_json(call: Call, value: Any) -> Any:
    adapter = call.steps[-1].method.result
    if adapter is None or value is None:
        return None
    try:
        return adapter.dump_python(value, mode="json", warnings="error")
    except PydanticSerializationError as error:
        # The work is done: doing it again would not change what it returns.
        message = f"{call.path} is done, but what it returned is not what it says: {error}"
        raise RejectJobError(message) from error


def handlers(registry: Registry) -> Iterable[JobHandler[Any, Any]]:
    """Return a handler of jobs for each deferrable class, under each of its names."""
    for name, target in Catalog(registry.contributions(Deferrable)).names.items():
        yield JobHandler(
            name=JOB_PREFIX + name,
            function=partial(_handle, target),
            options=JobOptions(),
            payload=None,
            result=ANYTHING,
            services={"replayer": Replayer, "scope": AsyncContainer},
            context_parameter="context",
            more_queues=target.queues(),
        )


async def _handle(
    target: Deferrable, *, context: JobContext, replayer: Replayer, scope: AsyncContainer
) -> Any:
    return await replayer.replay(target, context.job, scope)
