"""What clients are told when they are stopped.

The names are those of draft-ietf-httpapi-ratelimit-headers §5, and so is `violated-policies`.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from app.core.errors import AppError, ServiceUnavailableError

if TYPE_CHECKING:
    from app.infrastructure.rate_limiter.rates import Policy
    from app.infrastructure.rate_limiter.store import Verdict

VIOLATED = "violated-policies"
RETRY_WHEN_DOWN = 1
"""Seconds; that is how often Redis is looked for."""


class QuotaExceededError(AppError):
    """Too many requests. The header Retry-After says when the next one is taken."""

    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, verdicts: Sequence[Verdict], retry_after: int) -> None:
        """Keep how all limits stand.

        Args:
            verdicts: of the limits, those that refuse among them.
            retry_after: seconds.
        """
        members: dict[str, Any] = {VIOLATED: [v.policy.name for v in verdicts if not v.fits]}
        super().__init__(headers={"Retry-After": str(retry_after)}, **members)
        self.verdicts = verdicts


class TemporaryReducedCapacityError(ServiceUnavailableError):
    """Requests of this kind can't be counted at the moment, and so are not taken."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        """Name the limits that are closed."""
        members: dict[str, Any] = {VIOLATED: [policy.name for policy in policies]}
        super().__init__(headers={"Retry-After": str(RETRY_WHEN_DOWN)}, **members)


class LimiterDownError(Exception):
    """Redis does not count. What that means for a request, its limits say."""
