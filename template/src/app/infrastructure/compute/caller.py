"""The caller's side: send a call to the workers and wait for what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from app.core.ids import new_id
from app.infrastructure.compute import runtime
from app.infrastructure.compute.catalog import ComputeMethod, ComputeMethods
from app.infrastructure.compute.decorator import Declared
from app.infrastructure.compute.errors import ComputeTimeoutError
from app.infrastructure.compute.handle import ComputeHandle, InlineHandle
from app.infrastructure.compute.settings import ComputeSettings
from app.infrastructure.compute.values import Values, parse
from app.infrastructure.deferred.arguments import Arguments
from app.infrastructure.deferred.signing import Signer
from app.infrastructure.queue import Job, JobQueue, JobTimeoutError
from app.infrastructure.queue.headers import caller_headers
from app.infrastructure.queue.settings import QueueSettings

LEAVE_SECONDS = 2.0
"""How long cancelling what nobody waits for may hold up the end of the service."""


class Caller:
    """Makes calls in workers, or in place with `COMPUTE_INLINE`."""

    def __init__(  # noqa: PLR0913 - injected
        self,
        *,
        methods: ComputeMethods,
        jobs: JobQueue,
        signer: Signer,
        values: Values,
        settings: ComputeSettings,
        queue: QueueSettings,
    ) -> None:
        """Publish to `jobs`, signed."""
        self._methods = methods
        self._jobs = jobs
        self._signer = signer
        self._values = values
        self._settings = settings
        self._keep = timedelta(seconds=queue.queue_keep_dead)
        self._leaving: set[asyncio.Task[None]] = set()
        self.on_publish: Callable[[], None] | None = None
        """Told of each job, so that the pool need not look first."""

    async def close(self) -> None:
        """Finish cancelling what nobody waits for any more."""
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=LEAVE_SECONDS)

    async def invoke(
        self, declared: Declared, target: object, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """Make a call and return its result, or a handle where nobody waits.

        Raises:
            NotComputableError: no module provides such objects.
            InvalidCallError: the arguments are not what the method takes.
            ValueTooLargeError: they are too large.
            ComputeTimeoutError: the result was not there within `COMPUTE_WAIT`.
            QueueUnavailableError: the broker did not answer in time.
            AppError, JobFailedError: see `ComputeHandle.result`.
        """
        method = self._methods.of(target, declared)
        body, received = method.method.encode(method.method.bind(args, kwargs))
        if self._settings.compute_inline:
            return await self._in_place(method, target, received)
        job = await self._job(method, body)
        handle: ComputeHandle[Any] = ComputeHandle(self._jobs.engine, method, job.id, self._values)
        if declared.wait:
            return await self._waited(method, job, handle)
        await self._publish(job)
        return handle

    async def _job(self, method: ComputeMethod, body: bytes) -> Job:
        options = method.options
        if method.declared.wait:
            # Whoever waits may be gone, and nobody else will ask for it.
            options = replace(options, expires_in=timedelta(seconds=self._settings.compute_wait))
        what = f"The arguments of {method.name}"
        return self._signer.sign(
            Job(
                id=new_id().hex,
                name=method.job_name,
                body=await self._values.pack(what, body, self._keep),
                options=options,
                headers=caller_headers(),
            )
        )

    async def _publish(self, job: Job) -> None:
        await self._jobs.publish_many([job])
        if self.on_publish:
            self.on_publish()

    async def _waited(self, method: ComputeMethod, job: Job, handle: ComputeHandle[Any]) -> Any:
        # In a task of its own: a caller that is cancelled meanwhile leaves a job that can be found.
        publishing = asyncio.create_task(self._publish(job))
        try:
            await asyncio.shield(publishing)
            return await handle.result(timeout=self._settings.compute_wait)
        except JobTimeoutError as error:
            self._give_up(publishing, handle)
            message = (
                f"{method.name} was not done within COMPUTE_WAIT of "
                f"{self._settings.compute_wait:g} s, and is cancelled"
            )
            raise ComputeTimeoutError(message) from error
        except asyncio.CancelledError:
            self._give_up(publishing, handle)
            raise
        finally:
            await self._values.forget(parse(job.body))
            if handle.packed:
                await self._values.forget(handle.packed)

    def _give_up(self, publishing: asyncio.Task[None], handle: ComputeHandle[Any]) -> None:
        async def cancel() -> None:
            with suppress(Exception):  # it expires, if it can't be cancelled
                await publishing
                await handle.cancel()

        task = asyncio.create_task(cancel())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _in_place(self, method: ComputeMethod, target: object, arguments: Arguments) -> Any:
        """Run it here, with arguments and result as they would have travelled."""
        declared = method.declared
        outcome: Any
        try:
            args, kwargs = method.spread(arguments)
            value = await runtime.run(declared, target, args, kwargs)
            outcome = method.read(method.write(value))
        except Exception as error:
            if declared.wait:
                raise
            outcome = error
        if declared.wait:
            return outcome
        return InlineHandle(method.options.queue, f"inline-{new_id().hex}", outcome)
