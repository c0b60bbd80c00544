"""How many requests in which time, and how they are counted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Self

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
RATE = re.compile(
    r"(?P<quota>[0-9]{1,9})\s*(?:/|\s+per\s+)\s*(?P<many>[0-9]{0,6})\s*"
    r"(?:(?P<unit>[smhd])|(?P<word>second|minute|hour|day)s?)"
)
LONGEST_LOG = 100_000
"""Requests an exact sliding window may remember for one caller: ten bytes each."""
MICROSECONDS = 1_000_000
KIND = re.compile(r"(?P<algorithm>[a-z-]+)-(?P<quota>\d+)-(?P<period>\d+)(?:-(?P<burst>\d+))?")


class Algorithm(StrEnum):
    """How requests are counted."""

    FIXED_WINDOW = "fixed-window"
    """A window begins with the first request and ends all at once. The cheapest: one number. Twice
    the quota may pass around its end."""
    SLIDING_WINDOW = "sliding-window"
    """Never more than the quota in any window, wherever it begins. Remembers each request's time:
    about ten bytes each."""
    TOKEN_BUCKET = "token-bucket"  # noqa: S105 - no password
    """A bucket of `burst` tokens that is refilled evenly. One number, kept as GCRA (ITU-T I.371)
    does, which admits exactly what a bucket admits."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in so many seconds."""

    quota: int
    period: int
    """Seconds."""

    def __str__(self) -> str:
        """Return it as settings take it."""
        return f"{self.quota}/{self.period}s"


def parse_rates(text: str) -> tuple[Rate, ...]:
    """Parse `5/minute`, `100 per hour`, `10/30s`; several are separated by `;` or `,`.

    Raises:
        ValueError: says how a rate is written.
    """
    return tuple(_parse(part.strip()) for part in re.split("[;,]", text))


def _parse(text: str) -> Rate:
    found = RATE.fullmatch(text.lower())
    if not found or not int(found["quota"]) or found["many"].strip("0") == "" != found["many"]:
        message = (
            f"{text!r} is no rate: write 5/minute, 100 per hour or 10/30s, with second, minute, "
            "hour or day, and numbers above 0"
        )
        raise ValueError(message)
    unit = found["unit"] or found["word"][0]
    return Rate(int(found["quota"]), int(found["many"] or 1) * SECONDS[unit])


@dataclass(frozen=True)
class Policy:
    """A rate with a name and a way of counting: what `RateLimit-Policy` shows."""

    name: str
    rate: Rate
    algorithm: Algorithm = Algorithm.FIXED_WINDOW
    burst: int = 0
    """Size of the bucket; 0 is as many as the quota."""

    def __post_init__(self) -> None:
        """Refuse what can't be counted.

        Raises:
            ValueError: says what can.
        """
        if self.algorithm is Algorithm.SLIDING_WINDOW and self.rate.quota > LONGEST_LOG:
            message = (
                f"{self.rate} would remember {self.rate.quota:,} requests of each caller: a "
                f"sliding window takes {LONGEST_LOG:,}, a token bucket takes any number"
            )
            raise ValueError(message)
        if self.burst and self.algorithm is not Algorithm.TOKEN_BUCKET:
            message = f"burst={self.burst} is the size of a bucket: use Algorithm.TOKEN_BUCKET"
            raise ValueError(message)
        if self.burst < 0:
            message = "burst is a number of requests: 1 or more"
            raise ValueError(message)

    @cached_property
    def capacity(self) -> int:
        """Requests that may come at once."""
        return self.burst or self.rate.quota

    @cached_property
    def span(self) -> int:
        """Microseconds: of the window, or until a token comes back.

        That is rounded up: a bucket never gives more than its rate, and for 700,000 a second less.
        """
        period = self.rate.period * MICROSECONDS
        if self.algorithm is Algorithm.TOKEN_BUCKET:
            return -(-period // self.rate.quota)
        return period

    @cached_property
    def window(self) -> int:
        """Seconds in which `capacity` is given."""
        if self.algorithm is Algorithm.TOKEN_BUCKET:
            return max(1, -(-self.capacity * self.span // MICROSECONDS))
        return self.rate.period

    @cached_property
    def kind(self) -> str:
        """What tells its counters from those of any other: they hold different types of data."""
        burst = f"-{self.burst}" if self.burst else ""
        return f"{self.algorithm}-{self.rate.quota}-{self.rate.period}{burst}"

    @classmethod
    def of_kind(cls, name: str, kind: str) -> Self:
        """Return the policy whose `kind` this is.

        Raises:
            ValueError: it is none.
        """
        found = KIND.fullmatch(kind)
        if not found:
            message = f"{kind!r} is no kind of a limit"
            raise ValueError(message)
        rate = Rate(int(found["quota"]), int(found["period"]))
        return cls(name, rate, Algorithm(found["algorithm"]), int(found["burst"] or 0))

    @cached_property
    def words(self) -> tuple[str, int, int]:
        """What the script is told of it."""
        return (self.algorithm.value, self.capacity, self.span)

    @cached_property
    def shown(self) -> str:
        """Its item in `RateLimit-Policy`."""
        return f'"{self.name}";q={self.capacity};w={self.window}'
