"""What has to happen in Redis at once. Each script keeps to one hash slot, or to one server.

An entry is thirteen digits, the millisecond until which it is fresh; sixteen of the state of what
it depends on; a letter, what it holds; and that. A lock is sixteen digits of its holder, and
sixteen of the state it computes for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1

Word = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, and the name Redis knows it by."""

    source: str = field(repr=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Name it as Redis does."""
        digest = sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)


NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
ACQUIRE = Script(
    NOW
    + """
-- KEYS: lock, entry. ARGV: holder and state, milliseconds, the lock to take over
local state = string.sub(ARGV[1], 17)
local entry = redis.call('GET', KEYS[2])
if entry and string.sub(entry, 14, 29) == state
    and tonumber(string.sub(entry, 1, 13)) > now then
  return {'entry', entry}
end
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[3] then
  return {'held', held}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'acquired', string.format('%013d', now)}
"""
)
"""Begin to compute, unless the value is there or somebody else computes it."""
STORE = Script(
    NOW
    + """
-- KEYS: lock, entry. ARGV: the lock, or nothing; milliseconds fresh, and stale; what is kept
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], string.format('%013d', now + ARGV[2]) .. ARGV[4],
           'PX', ARGV[2] + ARGV[3])
return 1
"""
)
"""Keep a value, if the lock still is the holder's; without a lock in any case."""
RELEASE = Script(
    """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
"""
)
RENEW = Script(
    """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
"""
)
INVALIDATE = Script(
    NOW
    + """
-- KEYS: stamps. ARGV: a random word, milliseconds
for _, key in ipairs(KEYS) do
  redis.call('SET', key, string.format('%013d', now) .. ARGV[1], 'PX', ARGV[2])
end
return #KEYS
"""
)
"""Give stamps another value: what was kept under the old one is dead."""
TOUCH = Script(
    """
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < tonumber(ARGV[1]) then
    redis.call('PEXPIRE', key, ARGV[1])
  end
end
return #KEYS
"""
)
"""Let stamps live at least so long."""
