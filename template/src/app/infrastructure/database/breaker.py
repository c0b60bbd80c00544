"""A circuit breaker: stop asking what does not answer, and notice when it does again."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from app.core.errors import ServiceUnavailableError


class CircuitState(StrEnum):
    """What the breaker does with the next attempt."""

    CLOSED = "closed"
    """Lets it through."""
    OPEN = "open"
    """Refuses it."""
    HALF_OPEN = "half_open"
    """Lets one through, whose outcome decides."""


class CircuitOpenError(ServiceUnavailableError):
    """The database did not answer lately; the next attempt is made in a moment."""


class CircuitBreaker:
    """Counts failures in a row; after `threshold` of them refuses attempts for `reset` seconds.

    Then a single attempt is let through: it closes the circuit or opens it for another `reset`.
    """

    def __init__(self, threshold: int, reset: float, monotonic: Callable[[], float]) -> None:
        """Start closed. `monotonic` returns seconds."""
        self._threshold = threshold
        self._reset = reset
        self._monotonic = monotonic
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def state(self) -> CircuitState:
        """The present state."""
        if self._opened_at is None:
            return CircuitState.CLOSED
        if self._monotonic() - self._opened_at < self._reset:
            return CircuitState.OPEN
        return CircuitState.HALF_OPEN

    def before(self) -> None:
        """Ask for permission to try.

        Raises:
            CircuitOpenError: not now.
        """
        state = self.state
        if state is CircuitState.OPEN or (state is CircuitState.HALF_OPEN and self._probing):
            raise CircuitOpenError(headers={"Retry-After": str(max(1, round(self._reset)))})
        self._probing = state is CircuitState.HALF_OPEN

    def succeeded(self) -> None:
        """Note that the attempt worked."""
        self._failures = 0
        self._opened_at = None
        self._probing = False

    def failed(self) -> None:
        """Note that the attempt failed."""
        self._failures += 1
        if self._probing or self._failures >= self._threshold:
            self._opened_at = self._monotonic()
        self._probing = False

    def abandoned(self) -> None:
        """Note that the attempt was cancelled: nothing was learnt, another may try."""
        self._probing = False
