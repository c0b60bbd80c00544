"""What the scripts that keep the records of jobs in Redis have in common.

The keys of a queue begin with its base: `j:<id>` the record of a job, a sorted set for each state,
`unsent` those whose message may not have reached the broker, `k:<id>` the results of the jobs one
depends on, `de:<key>` deduplication, `meta` limits and pause, `schedules` and `s:<key>`.
"""

from __future__ import annotations

from app.infrastructure.queue.redis_scripts import Script

COMMON = r"""
    local function place(base, state, id, score)
        redis.call("ZADD", base .. state, score, id)
        redis.call("HSET", base .. "j:" .. id, "state", state)
    end
    local function among_waiting(base, id)
        -- Priorities one after the other, each in the order of creation.
        local known = redis.call("HMGET", base .. "j:" .. id, "priority", "created")
        place(base, "waiting", id, tonumber(known[1] or 0) * 1e13 + tonumber(known[2] or 0))
    end
    local function forget(base, state, id, now, keep)
        local job = base .. "j:" .. id
        local known = redis.call("HMGET", job, "parked", "pending", "turn", "due")
        redis.call("ZREM", base .. state, id)
        redis.call("DEL", job)
        if known[2] then redis.call("DEL", base .. "k:" .. id) end
        if known[1] then
            -- A message about it is still on its way: it must not be taken for an unknown job.
            redis.call("HSET", job, "state", "gone", "turn", known[3] or 1)
            redis.call("PEXPIREAT", job, math.max(now, tonumber(known[4] or 0)) + keep)
        end
    end
    local function forget_old(base, state, now, age, most, limit)
        local set, before = base .. state, now - age
        for _, id in ipairs(redis.call("ZRANGEBYSCORE", set, "-inf", before, "LIMIT", 0, limit)) do
            forget(base, state, id, now, 3600000)
        end
        local over = math.min(redis.call("ZCARD", set) - most, limit)
        if over > 0 then
            for _, id in ipairs(redis.call("ZRANGE", set, 0, over - 1)) do
                forget(base, state, id, now, 3600000)
            end
        end
    end
    local function open_key(base, id, key)
        key = key or redis.call("HGET", base .. "j:" .. id, "deduplication")
        if key and redis.call("GET", base .. "de:" .. key) == id then
            redis.call("DEL", base .. "de:" .. key)
        end
    end
    local function tell(channel, said, reply)
        -- That a job has ended: on its own channel, and on that of the process that waits for it.
        redis.call("PUBLISH", channel, said)
        if reply ~= "" then redis.call("PUBLISH", reply, channel .. "\n" .. said) end
    end
    local function tell_parent(root, now, id, parent, result, woken)
        -- result: JSON text; nil: the job is dead. Those that can go on are added to `woken`.
        local queue, parent_id = string.match(parent, "^([^:]+):(.*)$")
        local base = root .. queue .. ":"
        local job = base .. "j:" .. parent_id
        local state = redis.call("HGET", job, "state")
        if not state or state == "gone" then return end -- nobody would delete what is kept for it
        local ready
        if result then
            redis.call("HSET", base .. "k:" .. parent_id, id, result)
            ready = redis.call("HINCRBY", job, "pending", -1) == 0
        else
            redis.call("HSETNX", job, "blocked_by", "job " .. id .. " is dead")
            ready = true
        end
        if ready and state == "blocked" then
            redis.call("ZREM", base .. "blocked", parent_id)
            among_waiting(base, parent_id)
            redis.call("ZADD", base .. "unsent", now, parent_id)
            woken[#woken + 1] = queue
            woken[#woken + 1] = parent_id
        end
    end
"""


def with_common(body: str) -> Script:
    """Return a script that may use the functions above."""
    return Script(COMMON + body)
