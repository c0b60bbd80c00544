"""Of the tasks of a process that want one thing, one gets it and the others wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Landed(Generic[ResultT]):
    """What came of it."""

    result: ResultT
    was_shared: bool
    """Another task got it."""


class Flights(Generic[ResultT]):
    """What is on its way in this process."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._waiting: dict[Hashable, asyncio.Future[ResultT | None]] = {}

    async def join(
        self,
        key: Hashable,
        lead: Callable[[], Awaitable[ResultT]],
        is_good: Callable[[ResultT], bool],
    ) -> Landed[ResultT]:
        """Return what `lead` returns, called by one of the tasks that come meanwhile.

        It is called in the task's own context: what belongs to its request lives as long as it. If
        that task is cancelled, or its result is good for itself alone, the next one takes over.
        What `lead` raises is raised in all of them: one failure is not repeated for each.
        """
        while (other := self._waiting.get(key)) is not None:
            result = await asyncio.shield(other)
            if result is not None and is_good(result):
                return Landed(result, was_shared=True)
        future: asyncio.Future[ResultT | None] = asyncio.get_running_loop().create_future()
        self._waiting[key] = future
        try:
            result = await lead()
        except Exception as error:
            future.set_exception(error)
            future.exception()  # it may be that nobody waits
            raise
        except BaseException:
            future.set_result(None)
            raise
        else:
            future.set_result(result)
            return Landed(result, was_shared=False)
        finally:
            del self._waiting[key]
