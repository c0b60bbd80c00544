"""The worker's side: read a call, check it against today's code, make it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import Any

from dishka import AsyncContainer
from loguru import logger

from app.core.discovery import Registry
from app.core.errors import AppError
from app.infrastructure.compute import runtime
from app.infrastructure.compute.catalog import ComputeMethod, find_methods
from app.infrastructure.compute.errors import ValueTooLargeError
from app.infrastructure.compute.values import Values, parse
from app.infrastructure.deferred import InvalidCallError
from app.infrastructure.deferred.arguments import Arguments
from app.infrastructure.deferred.replay import Replayer
from app.infrastructure.deferred.signing import Signer
from app.infrastructure.queue import Job, JobContext, JobHandler, RejectJobError
from app.infrastructure.queue.executor import Executor
from app.infrastructure.queue.settings import QueueSettings

TALLY = "COMPUTE_TALLY_FD"
"""Tells a process of the pool which file descriptor leads to the pool. Not a setting."""
RETIRED = 5
"""Exit code of a process that had to leave a thread behind: start another at once."""
RETIRE_POLL = 0.05
RETIRE_SECONDS = 1.0
"""What is left after its last job, to tell the broker."""


class Tally:
    """Tells the pool how many jobs this process is on, a byte for each change."""

    def __init__(self) -> None:
        """Find the pool, if this is a process of one."""
        self._fd = int(os.environ.pop(TALLY, "-1"))
        self._running = 0

    @property
    def in_pool(self) -> bool:
        """Whether a pool has started this process."""
        return self._fd >= 0

    def tell(self) -> None:
        """Say how many there are now."""
        if self.in_pool:
            try:
                os.write(self._fd, bytes([min(self._running, 255)]))
            except OSError:  # the pool is gone, and this process soon too
                self._fd = -1

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count a job."""
        self._running += 1
        self.tell()
        try:
            yield
        finally:
            self._running -= 1
            self.tell()


class ComputeWorker:
    """Makes calls that were sent to a worker."""

    def __init__(  # noqa: PLR0913 - injected
        self,
        *,
        signer: Signer,
        replayer: Replayer,
        values: Values,
        tally: Tally,
        settings: QueueSettings,
        executor: Executor,
    ) -> None:
        """Believe what the signer accepts, and ask the replayer's checks."""
        self._signer = signer
        self._replayer = replayer
        self._values = values
        self._tally = tally
        self._executor = executor
        self._keep = timedelta(seconds=settings.queue_keep_results)
        self._retiring = False

    async def make(self, method: ComputeMethod, job: Job, scope: AsyncContainer) -> bytes:
        """Make the call of a job and return its result, packed.

        Raises:
            RejectJobError: it can't be made, or what it raised is an answer.
        """
        with self._tally.one_more():
            arguments = await self._read(method, job)
            await self._replayer.ask(method.call(arguments), scope)
            target = await scope.get(method.provides, component=method.component)
            try:
                value = await self._run(method, target, arguments)
            except AppError as error:
                if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                raise RejectJobError(cause=error) from error
            return await self._pack(method, value)

    async def _read(self, method: ComputeMethod, job: Job) -> Arguments:
        """Return the arguments, all of it checked before anything is run."""
        try:
            self._signer.check(job)
            return method.method.decode(await self._values.unpack(parse(job.body)))
        except (InvalidCallError, RejectJobError) as error:
            logger.bind(security="compute").error("A computation is refused: {}", error.detail)
            raise RejectJobError(error.detail) from error

    async def _run(self, method: ComputeMethod, target: object, arguments: Arguments) -> Any:
        args, kwargs = method.spread(arguments)
        with runtime.inside():
            made = runtime.run(method.declared, target, args, kwargs)
            if method.declared.is_async:
                return await made
            running = asyncio.ensure_future(made)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            running.add_done_callback(_ignore)
            self._leave_behind(method)
            raise

    def _leave_behind(self, method: ComputeMethod) -> None:
        """End the process, if that is all it is there for: a thread can't be interrupted."""
        if not self._tally.in_pool or self._retiring:
            return
        logger.warning("{} goes on in a thread after its end: its process is replaced", method.name)
        self._retiring = True
        os.kill(os.getpid(), signal.SIGTERM)  # takes no more jobs, and tells the broker
        threading.Thread(target=self._end, name="retire", daemon=True).start()

    def _end(self) -> None:
        while self._executor.running:
            time.sleep(RETIRE_POLL)
        time.sleep(RETIRE_SECONDS)
        os._exit(RETIRED)

    async def _pack(self, method: ComputeMethod, value: Any) -> bytes:
        try:
            body = method.write(value)
            packed = await self._values.pack(f"The result of {method.name}", body, self._keep)
        except (TypeError, ValueTooLargeError) as error:  # another attempt returns the same
            raise RejectJobError(cause=error) from error
        return packed.encode()


def _ignore(task: asyncio.Future[Any]) -> None:
    """Take note of how a thread ended that nobody waits for."""
    if not task.cancelled():
        task.exception()


class _AsIs:
    """Writes results that are written already."""

    def dump_json(self, packed: bytes, /, *, warnings: object) -> bytes:
        del warnings
        return packed

    def validate_json(self, data: str, /, **_: bool) -> Any:
        return json.loads(data)


def handlers(registry: Registry) -> Iterable[JobHandler[Any, Any]]:
    """Return a handler of jobs for each method."""
    for method in find_methods(registry):
        yield JobHandler(
            name=method.job_name,
            function=partial(_handle, method),
            options=method.options,
            payload=None,
            result=_AsIs(),
            services={"worker": ComputeWorker, "scope": AsyncContainer},
            context_parameter="context",
            on_request=True,
        )


async def _handle(
    method: ComputeMethod, *, context: JobContext, worker: ComputeWorker, scope: AsyncContainer
) -> bytes:
    return await worker.make(method, context.job, scope)
