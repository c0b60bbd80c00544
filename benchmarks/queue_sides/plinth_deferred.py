"""Deferred calls of a generated service: a chain of two calls on a provider of the container."""

from __future__ import annotations

from typing import Self

from app.core.module import Module
from app.infrastructure.deferred import Deferrable, Tasks
from app.infrastructure.deferred.module import module as deferred_module
from app.infrastructure.queue.worker import Worker
from dishka import Provider, Scope

from benchmarks.queue_sides.common import main
from benchmarks.queue_sides.plinth import HANDLE, Plinth, maker


class Measured:
    """What is called later."""

    def of(self, name: str) -> Self:
        """Begin a chain."""
        self.name = name
        return self

    async def done(self, value: float) -> None:
        """Do what the measurement wants."""
        HANDLE[-1](value)


provider = Provider(scope=Scope.REQUEST)
provider.provide(Measured)


class Deferred(Plinth):
    """See `Side`."""

    modules = (
        deferred_module,
        Module(
            name="probe",
            summary="measured",
            requires=("deferred",),
            providers=(provider,),
            contributes=(Deferrable(Measured),),
        ),
    )
    _tasks: Tasks

    async def start(self, concurrency: int = 10) -> Worker:
        """Start the modules."""
        worker = await super().start(concurrency)
        self._tasks = await self.container.get(Tasks)
        return worker

    async def publish(self, value: float) -> object:
        """See `Side.publish`."""
        return (await self._tasks.run_later(lambda run: run(Measured).of("it").done(value)))[0]

    async def publish_batch(self, values: list[float]) -> None:
        """See `Side.publish_batch`."""
        await self._tasks.run_later(
            lambda run: [run(Measured).of("it").done(value) for value in values]
        )


if __name__ == "__main__":
    main(maker(Deferred))
