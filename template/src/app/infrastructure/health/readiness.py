"""Whether this process wants traffic."""

from __future__ import annotations

import asyncio
from enum import StrEnum


class Phase(StrEnum):
    """The life of a process, in order."""

    STARTING = "starting"
    SERVING = "serving"
    LEAVING = "leaving"
    """Asked to stop: not ready any more, still serving until the load balancers have noticed."""
    STOPPING = "stopping"
    """Takes no new connection; requests in flight are finished."""


class Readiness:
    """The phase of this process; inject it to see or to await its end.

    A stream that has no end of its own waits for `stopping` beside its source: an open stream would
    hold the process until the requests' time to finish is over.
    """

    def __init__(self) -> None:
        """Begin in `Phase.STARTING`."""
        self.phase = Phase.STARTING
        self.stopping = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether traffic is wanted."""
        return self.phase is Phase.SERVING

    def serve(self) -> None:
        """Say that every module has started."""
        self.phase = Phase.SERVING

    def leave(self) -> None:
        """Say that traffic should go elsewhere. Safe to call in a signal handler."""
        self.phase = Phase.LEAVING

    def stop(self) -> None:
        """Tell streams to end. Call it in the event loop."""
        self.phase = Phase.STOPPING
        self.stopping.set()
