"""Tokens and what they stand for: sessions, links in mails, refresh tokens.

Redis knows a token by its digest only (OWASP Session Management Cheat Sheet): who reads the server
can't use what he finds. All tokens of a user are fields of one hash, so that each operation is one
step, on a cluster too. This is no cache: without Redis there is no answer, and a server that
evicts keys logs users out.
"""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b, sha256
from typing import Any, cast

from pydantic import JsonValue
from redis.asyncio import Redis

from app.infrastructure.cache.scripts import NOW
from app.infrastructure.cache.settings import CacheSettings
from app.infrastructure.redis import REDIS_ERRORS, KeySpace, RedisUnavailableError

OWNER_CHARACTERS = 16
SECRET_BYTES = 32
"""256 bits: nobody guesses one (OWASP asks for 64)."""
LONGEST = 200
"""Characters of what is taken for a token."""
PUT = (
    NOW
    + """
-- KEYS: the user's tokens. ARGV: digest, milliseconds, value, how many a user may have
local ends = now + ARGV[2]
local last, alive = ends, {}
local all = redis.call('HGETALL', KEYS[1])
for place = 1, #all, 2 do
  local other = tonumber(string.sub(all[place + 1], 1, 13))
  if other <= now then
    redis.call('HDEL', KEYS[1], all[place])
  else
    if other > last then last = other end
    alive[#alive + 1] = {ends = other, digest = all[place]}
  end
end
-- More than one where fewer are allowed than before.
table.sort(alive, function(one, two) return one.ends < two.ends end)
for place = 1, #alive + 1 - ARGV[4] do
  redis.call('HDEL', KEYS[1], alive[place].digest)
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%013d', ends) .. ARGV[3])
redis.call('PEXPIREAT', KEYS[1], last)
return 1
"""
)
GET = (
    NOW
    + """
local found = redis.call('HGET', KEYS[1], ARGV[1])
if not found then return false end
if tonumber(string.sub(found, 1, 13)) <= now then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return false
end
return found
"""
)
REVOKE = (
    NOW
    + """
local found = redis.call('HGET', KEYS[1], ARGV[1])
if not found then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
return tonumber(string.sub(found, 1, 13)) > now and 1 or 0
"""
)
REVOKE_ALL = (
    NOW
    + """
local count = 0
for _, value in ipairs(redis.call('HVALS', KEYS[1])) do
  if tonumber(string.sub(value, 1, 13)) > now then count = count + 1 end
end
redis.call('DEL', KEYS[1])
return count
"""
)


@dataclass(frozen=True, slots=True)
class StoredToken:
    """What a token stands for."""

    user: str
    data: JsonValue
    expires_at: datetime


class TokenStore:
    """Tokens of users, each with an end.

    All methods raise `RedisUnavailableError` when Redis does not answer.
    """

    def __init__(self, redis: Redis, keys: KeySpace, settings: CacheSettings) -> None:
        """Keep them on `redis`."""
        self._redis: Any = redis  # redis-py types both its clients at once: value or awaitable
        self._keys = keys
        self._most = settings.tokens_per_user

    async def put(self, user: str, ttl: timedelta, data: JsonValue = None) -> str:
        """Return a new token; it is shown this once, and can't be read back.

        Args:
            user: whose it is.
            ttl: until it ends.
            data: what else to remember.

        Raises:
            ValueError: no user, or a time that is not positive.
        """
        if not user or ttl <= timedelta():
            message = "a token needs a user, and a time to live above 0"
            raise ValueError(message)
        owner = _owner(user)
        token = f"{owner}.{secrets.token_urlsafe(SECRET_BYTES)}"
        value = json.dumps({"user": user, "data": data})
        milliseconds = max(round(ttl.total_seconds() * 1000), 1)
        await self._run(PUT, owner, _digest(token), milliseconds, value, self._most)
        return token

    async def get(self, token: str) -> StoredToken | None:
        """Return what a token stands for; None: it is none, has ended or was revoked."""
        owner = _owner_in(token)
        found: str | None = await self._run(GET, owner, _digest(token)) if owner else None
        if found is None:
            return None
        known = json.loads(found[13:])
        ends = datetime.fromtimestamp(int(found[:13]) / 1000, UTC)
        return StoredToken(known["user"], known["data"], ends)

    async def revoke(self, token: str) -> bool:
        """End a token; return False if it had ended."""
        owner = _owner_in(token)
        return bool(owner and await self._run(REVOKE, owner, _digest(token)))

    async def revoke_user(self, user: str) -> int:
        """End all tokens of a user, in one step; return how many there were."""
        return cast("int", await self._run(REVOKE_ALL, _owner(user)))

    async def _run(self, script: str, owner: str, *words: str | int) -> Any:
        key = self._keys.tagged(owner, "tokens")
        try:
            return await self._redis.eval(script, 1, key, *words)
        except REDIS_ERRORS as error:
            raise RedisUnavailableError from error


def _owner(user: str) -> str:
    """Return the part of a token that says in which hash it is, without saying whose it is."""
    return urlsafe_b64encode(blake2b(user.encode(), digest_size=12).digest()).decode()


def _owner_in(token: str) -> str:
    owner, dot, secret = token.partition(".")
    is_one = len(owner) == OWNER_CHARACTERS and dot and secret and len(token) <= LONGEST
    return owner if is_one and token.isascii() and not set(owner) & set("{}") else ""


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
