"""The one script: all limits of a request, counted together or not at all."""

from __future__ import annotations

from hashlib import sha1

WORDS = 4
"""Arguments for each key: algorithm, capacity, span in microseconds, cost."""
NUMBERS = 4
"""Answered for each key: whether it fits, what is left, milliseconds until more is left, and until
this request would fit."""

SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local plan, fit = {}, true

local function text(number) return string.format('%.0f', number) end
local function milliseconds(span) return text(math.max(1, math.ceil(span / 1000))) end

-- What is older than the window leaves; entries are in order, so halve the search.
local function forget(key, before)
  if tonumber(redis.call('LINDEX', key, 0) or before + 1) > before then return end
  local low, high = 1, redis.call('LLEN', key)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if tonumber(redis.call('LINDEX', key, middle)) > before then
      high = middle
    else
      low = middle + 1
    end
  end
  redis.call('LTRIM', key, low, -1)
end

local look = {}

look['fixed-window'] = function(key, capacity, span, cost)
  local used = tonumber(redis.call('GET', key) or 0)
  local ends = span
  if used > 0 then
    ends = redis.call('PTTL', key) * 1000
    if ends < 0 then  -- somebody took the expiry away
      ends = span
      redis.call('PEXPIRE', key, milliseconds(span))
    end
  end
  return {
    fits = used + cost <= capacity, left = capacity - used, wait = ends, ends = ends,
    take = function()
      if used > 0 then
        redis.call('INCRBY', key, cost)
      else
        redis.call('SET', key, cost, 'PX', milliseconds(span))
      end
    end
  }
end

look['sliding-window'] = function(key, capacity, span, cost)
  forget(key, now - span)
  local used = redis.call('LLEN', key)
  local fits = used + cost <= capacity
  local wait, ends = 0, span
  if not fits then
    wait = redis.call('LINDEX', key, used + cost - capacity - 1) + span - now
  end
  if used > 0 then ends = redis.call('LINDEX', key, 0) + span - now end
  return {
    fits = fits, left = capacity - used, wait = wait, ends = ends,
    take = function()
      for _ = 1, cost do redis.call('RPUSH', key, text(now)) end
      redis.call('PEXPIRE', key, milliseconds(span))
    end
  }
end

-- GCRA: the key holds the time at which the bucket will be full.
look['token-bucket'] = function(key, capacity, span, cost)
  local full = math.max(now, tonumber(redis.call('GET', key) or now))
  local after = full + cost * span
  local missing = (full - now) / span
  local fits = after - now <= capacity * span
  local ends = span
  if full > now then ends = (full - now) - math.floor(missing) * span end
  if ends == 0 then ends = span end
  return {
    fits = fits, left = capacity - math.ceil(missing), wait = after - capacity * span - now,
    ends = ends,
    take = function()
      redis.call('SET', key, text(after), 'PX', milliseconds(after - now))
    end
  }
end

for number, key in ipairs(KEYS) do
  local at = (number - 1) * 4
  local cost = tonumber(ARGV[at + 4])
  local seen = look[ARGV[at + 1]](key, tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), cost)
  seen.cost = cost
  fit = fit and seen.fits
  plan[number] = seen
end

local answer = {}
for number, seen in ipairs(plan) do
  if fit then
    seen.take()
    seen.left = seen.left - seen.cost
  end
  local at = (number - 1) * 4
  answer[at + 1] = seen.fits and 1 or 0
  answer[at + 2] = math.max(0, seen.left)
  answer[at + 3] = math.ceil(seen.ends / 1000)
  answer[at + 4] = seen.fits and 0 or math.max(1, math.ceil(seen.wait / 1000))
end
return answer
"""
DIGEST = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
"""What Redis calls it."""
