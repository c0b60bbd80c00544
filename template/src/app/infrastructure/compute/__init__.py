"""`@compute`: a method that is awaited here and runs in a pool of worker processes."""

from app.core.large_values import LargeValues
from app.infrastructure.compute.decorator import compute
from app.infrastructure.compute.errors import (
    ComputeTimeoutError,
    NotComputableError,
    NotStartedError,
    ValueTooLargeError,
)

__all__ = [
    "ComputeTimeoutError",
    "LargeValues",
    "NotComputableError",
    "NotStartedError",
    "ValueTooLargeError",
    "compute",
]
