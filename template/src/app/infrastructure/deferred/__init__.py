"""Deferred calls: write the call you would have written; a worker makes it."""

from app.infrastructure.deferred.calls import Call
from app.infrastructure.deferred.catalog import Deferrable
from app.infrastructure.deferred.errors import InvalidCallError, UnknownMethodError
from app.infrastructure.deferred.options import deferrable
from app.infrastructure.deferred.recorder import Recorder
from app.infrastructure.deferred.replay import OnBehalfOf
from app.infrastructure.deferred.tasks import DeferredJobs, Tasks

__all__ = [
    "Call",
    "Deferrable",
    "DeferredJobs",
    "InvalidCallError",
    "OnBehalfOf",
    "Recorder",
    "Tasks",
    "UnknownMethodError",
    "deferrable",
]
