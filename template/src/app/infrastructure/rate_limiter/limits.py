"""Limits as routes declare them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import Depends, Request

from app.core.errors import ConfigurationError
from app.infrastructure.rate_limiter.rates import Algorithm, Policy, parse_rates

STATE = "rate_limiter"
"""Where a request's limits are, in its ASGI scope."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TIMES = {1: "second", 60: "minute", 3_600: "hour", 86_400: "day"}


class By(StrEnum):
    """Whose requests are counted together."""

    ADDRESS = "address"
    """The client's IP address, as far as trusted proxies vouch for it; of IPv6 the network /64."""
    USER = "user"
    """The user `set_user` has named, and as long as nobody has, the address."""
    API_KEY = "api-key"
    """The key in `RATE_LIMIT_API_KEY_HEADER`; without one, the address. Not checked here: keys that
    are made up are counted apart, so limit the address as well."""
    ROUTE = "route"
    """The operation, path template included. Alone: all callers of it together."""


class OnLimiterDown(StrEnum):
    """What happens to a request that can't be counted, because Redis is away."""

    OPEN = "open"
    """It passes: better unlimited than not at all."""
    CLOSED = "closed"
    """It is refused with 503: for logins, and what costs money."""


@dataclass(frozen=True, slots=True)
class FromRequest:
    """A part of the key that the request itself holds, such as a header."""

    read: Callable[[Request], str]


KeyPart = By | FromRequest | Callable[..., Any]
"""What a request is counted by. A function is a FastAPI dependency that returns `str`."""


@dataclass(frozen=True)
class Limit:
    """Rates for what shares a key. Use it as `Depends(limit(...))`, on a route or a router."""

    policies: tuple[Policy, ...]
    by: tuple[KeyPart, ...] = (By.ADDRESS, By.ROUTE)
    name: str | None = None
    cost: int = 1
    on_down: OnLimiterDown | None = None
    """None: as `RATE_LIMIT_ON_DOWN` says."""
    __signature__: Signature = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Tell FastAPI which dependencies the key needs."""
        parameters = [Parameter("request", Parameter.KEYWORD_ONLY, annotation=Request)]
        parameters += [
            Parameter(word, Parameter.KEYWORD_ONLY, annotation=Annotated[str, Depends(part)])
            for word, part in self.dependencies()
        ]
        object.__setattr__(self, "__signature__", Signature(parameters))

    @cached_property
    def depends(self) -> bool:
        """Whether its key is known only when dependencies have been resolved."""
        return any(self.dependencies())

    def dependencies(self) -> Iterable[tuple[str, Callable[..., Any]]]:
        """Yield the parts of the key that are dependencies, by the parameter they arrive in."""
        for number, part in enumerate(self.by):
            if not isinstance(part, By | FromRequest):
                yield f"part_{number}", part

    async def __call__(self, request: Request, **parts: str) -> None:
        """Count the request, unless that was done at the door.

        Raises:
            QuotaExceededError: there were too many.
            LimiterDownError: it can't be counted, and the limit is closed then.
        """
        state = request.scope.get(STATE)
        if state is None:
            message = (
                "Depends(limit(...)) works in an application made by create_app(): this one has no "
                "rate limiter around its routes"
            )
            raise ConfigurationError(message)
        await state.settle(self, request, parts)


def limit(  # noqa: PLR0913 - what a limit can say
    rate: str,
    *,
    by: KeyPart | Iterable[KeyPart] = By.ADDRESS,
    name: str | None = None,
    algorithm: Algorithm = Algorithm.FIXED_WINDOW,
    burst: int = 0,
    cost: int = 1,
    on_down: OnLimiterDown | None = None,
) -> Limit:
    """Return a limit: `dependencies=[Depends(limit("5/minute", by=By.ADDRESS))]`.

    It replaces the default limit of `RATE_LIMIT_DEFAULT`. Of several on a route all must agree, and
    a refused request is counted by none; but a limit whose key a dependency makes, or a user it
    finds, is asked after those that need none, and they have counted by then.

    Args:
        rate: `5/minute`; several, as `5/minute;100/day`, hold together.
        by: whose requests are counted together; several parts make one key.
        name: shown to clients. Limits of one name share their counters, across routes; one without
            is the route's own.
        algorithm: how requests are counted.
        burst: size of a token bucket; by default as many as the rate's quota.
        cost: as how many requests one counts.
        on_down: whether requests pass while Redis is away; by default as `RATE_LIMIT_ON_DOWN`.

    Raises:
        ValueError: says what can't be.
    """
    parts = _parts(by)
    if not parts:
        message = "by= names whose requests are counted together: By.ROUTE for everybody's"
        raise ValueError(message)
    if name is not None and not NAME.fullmatch(name):
        message = f"{name!r} is no name of a limit: letters, digits, '.', '_', '-', at most 64"
        raise ValueError(message)
    rates = parse_rates(rate)
    prefix = name or "-".join(part.value for part in parts if isinstance(part, By)) or "custom"
    policies = tuple(
        Policy(
            prefix if name and len(rates) == 1 else f"{prefix}-{_window(item.period)}",
            item,
            algorithm,
            burst,
        )
        for item in rates
    )
    if not 1 <= cost <= min(policy.capacity for policy in policies):
        message = f"cost={cost} never fits into {rate!r}: 1 up to its quota"
        raise ValueError(message)
    own = parts if name or By.ROUTE in parts else (*parts, By.ROUTE)
    return Limit(policies, own, name, cost, on_down)


def _parts(by: KeyPart | Iterable[KeyPart]) -> tuple[KeyPart, ...]:
    if isinstance(by, (By, FromRequest)) or callable(by):
        return (by,)
    return tuple(by)


async def unlimited() -> None:
    """Leave a route out of the default limit: `dependencies=[Depends(unlimited)]`."""


def _window(period: int) -> str:
    return TIMES.get(period, f"{period}s")
