"""Rate limits: declared on routes, or one for all; counted in Redis in one round trip."""

from app.infrastructure.rate_limiter.errors import (
    QuotaExceededError,
    TemporaryReducedCapacityError,
)
from app.infrastructure.rate_limiter.limiter import RateLimiter
from app.infrastructure.rate_limiter.limits import (
    By,
    FromRequest,
    Limit,
    OnLimiterDown,
    limit,
    unlimited,
)
from app.infrastructure.rate_limiter.rates import Algorithm

__all__ = [
    "Algorithm",
    "By",
    "FromRequest",
    "Limit",
    "OnLimiterDown",
    "QuotaExceededError",
    "RateLimiter",
    "TemporaryReducedCapacityError",
    "limit",
    "unlimited",
]
