"""Which counter a request moves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from urllib.parse import quote, unquote

from fastapi import Request

from app.infrastructure.logger import current_context
from app.infrastructure.rate_limiter.addresses import group
from app.infrastructure.rate_limiter.limits import By, FromRequest, Limit
from app.infrastructure.rate_limiter.settings import RateLimiterSettings
from app.infrastructure.rate_limiter.store import Hit
from app.infrastructure.redis import KeySpace

LONGEST_WORD = 64
"""Characters that are shown as they are; longer ones as a digest."""
UNNAMED = "-"
KEY = re.compile(r"\{(?P<caller>[^}]*)\}:limit:(?P<name>[^:]*):(?P<route>[^:]*):(?P<kind>[^:]*)")
"""A key behind the service's prefix."""


class LimitKeys:
    """Names the counters of requests, and reads the names.

    What a caller sends is shown as a digest: keys of an API, e-mail addresses. So a key has a
    length that no caller decides, and a look into Redis finds no secret.
    """

    def __init__(self, keys: KeySpace, settings: RateLimiterSettings) -> None:
        """Know the prefix."""
        self._keys = keys
        self._header = settings.rate_limit_api_key_header
        self._ipv6_prefix = settings.rate_limit_ipv6_prefix

    @property
    def pattern(self) -> str:
        """What finds all of them (SCAN)."""
        return self._keys("{*}", "limit", "*")

    def at_door(self, limit: Limit, request: Request, route: str) -> list[Hit] | None:
        """Return the counters of a limit, None if more has to be known than the request says."""
        if limit.depends or (By.USER in limit.by and current_context().user_id is None):
            return None
        return self.of(limit, request, route, {})

    def of(self, limit: Limit, request: Request, route: str, parts: Mapping[str, str]) -> list[Hit]:
        """Return the counters of a limit.

        Args:
            limit: with one counter for each of its rates.
            request: who calls.
            route: the operation.
            parts: results of the dependencies that are part of the key.
        """
        words: list[str] = []
        for number, part in enumerate(limit.by):
            if isinstance(part, FromRequest):
                words.append(f"{number}={digest(part.read(request))}")
            elif not isinstance(part, By):
                words.append(f"{number}={digest(parts[f'part_{number}'])}")
            elif part is not By.ROUTE:
                words.append(self._caller(part, request))
        return self.named(limit, words, route if By.ROUTE in limit.by else "")

    def named(self, limit: Limit, caller: list[str], route: str = "") -> list[Hit]:
        """Return the counters of a limit for a caller that is known already."""
        # Repeated parts say nothing more: of user and address, both may be the address.
        tag = ",".join(dict.fromkeys(caller)) or _in_tag(f"route={route}")
        name, shown = limit.name or UNNAMED, _in_part(route)
        return [
            Hit(policy, self._keys.tagged(tag, "limit", name, shown, policy.kind), limit.cost)
            for policy in limit.policies
        ]

    def read(self, key: str) -> dict[str, str] | None:
        """Return what a key is about: caller, name, route, kind; None if it is no counter."""
        found = KEY.fullmatch(key.removeprefix(f"{self._keys.prefix}:"))
        return (
            {word: unquote(value) for word, value in found.groupdict().items()} if found else None
        )

    def caller_pattern(self, caller: str) -> str:
        """Return what finds all counters of one caller (SCAN), such as `address=192.0.2.1`.

        It may find others too, which `read` tells apart: a comma is one of a user's id, or stands
        between two parts, and the key has another word for each.
        """
        parts = "*".join(map(_in_tag, caller.split(",")))
        return self._keys(f"{{{parts}}}", "limit", "*")

    def _caller(self, part: By, request: Request) -> str:
        if part is By.USER and (user := current_context().user_id):
            return f"user={_in_tag(user) if len(user) <= LONGEST_WORD else digest(user)}"
        if part is By.API_KEY and (key := request.headers.get(self._header)):
            return f"api-key={digest(key)}"
        return f"address={_in_tag(group(current_context().client_address, self._ipv6_prefix))}"


@lru_cache(maxsize=4096)
def _in_tag(text: str) -> str:
    """Return it without what would end a hash tag."""
    return quote(text, safe=" :/=@.+-_")


@lru_cache(maxsize=1024)
def _in_part(text: str) -> str:
    """Return it without what would end a part of a key."""
    return quote(text, safe=" /=@.,+-_{}<>*|")


def digest(text: str) -> str:
    """Return 24 hexadecimal digits in place of a text."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
