"""The scripts that look after queues: nothing that comes with every job. See `scripts`."""

from __future__ import annotations

from app.infrastructure.queue.rabbitmq.lua import with_common
from app.infrastructure.queue.redis_scripts import Script

BURY = with_common(
    """
    -- Let a job that waits be dead. KEYS: base, root.
    -- ARGV: now in ms, id, failure as JSON, channel of ends, reason.
    -- Returns: 0 nothing to cancel, 1 cancelled, 2 its worker has to be told; woken parents.
    local base, id, woken = KEYS[1], ARGV[2], {}
    local job = base .. "j:" .. id
    local known = redis.call("HMGET", job, "state", "parent", "headers")
    local state = known[1]
    if state == "active" and ARGV[5] == "cancelled" then
        redis.call("HSET", job, "cancel", 1)
        return {2, woken}
    end
    if state ~= "waiting" and state ~= "delayed" and state ~= "blocked" then return {0, woken} end
    redis.call("ZREM", base .. state, id)
    redis.call("ZREM", base .. "unsent", id)
    redis.call("HSET", job, "reason", ARGV[5], "last", ARGV[3], "ended", ARGV[1], "parked", 1)
    open_key(base, id)
    place(base, "dead", id, ARGV[1])
    if known[2] then tell_parent(KEYS[2], ARGV[1], id, known[2], nil, woken) end
    local read, headers = pcall(cjson.decode, known[3] or "")
    tell(ARGV[4] .. id, "", read and type(headers) == "table" and headers["reply-to"] or "")
    return {1, woken}
    """
)
REPLAY = with_common(
    """
    -- Start a dead job afresh. KEYS: base. ARGV: now in ms, id. Returns whether it was dead.
    local base, id = KEYS[1], ARGV[2]
    local job = base .. "j:" .. id
    if redis.call("ZREM", base .. "dead", id) == 0 then return 0 end
    redis.call("HDEL", job, "starts", "failures", "crashes", "alone", "cancel", "first", "last",
        "reason", "blocked_by", "result", "progress", "worker", "started", "ended")
    -- Its age counts from now: it may have expired.
    redis.call("HSET", job, "due", 0, "created", ARGV[1])
    redis.call("HINCRBY", job, "turn", 1)
    among_waiting(base, id)
    redis.call("ZADD", base .. "unsent", ARGV[1], id)
    return 1
    """
)
PURGE = with_common(
    """
    -- Delete jobs of a state. KEYS: base, root.
    -- ARGV: state, how many at most, 1 if messages are out, now in ms.
    -- Returns: how many were deleted, woken parents.
    local base, woken = KEYS[1], {}
    local ids = redis.call("ZRANGE", base .. ARGV[1], 0, ARGV[2] - 1)
    for _, id in ipairs(ids) do
        if ARGV[3] == "1" then redis.call("HSET", base .. "j:" .. id, "parked", 1) end
        local known = redis.call("HMGET", base .. "j:" .. id, "parent", "state")
        if known[1] and known[2] ~= "completed" and known[2] ~= "dead" then
            tell_parent(KEYS[2], ARGV[4], id, known[1], nil, woken)
        end
        open_key(base, id)
        redis.call("ZREM", base .. "unsent", id)
        -- 30 days: the queue may be paused, or have no worker, for long.
        forget(base, ARGV[1], id, tonumber(ARGV[4]), 2592000000)
    end
    return {#ids, woken}
    """
)
RECLAIM = with_common(
    """
    -- Jobs whose worker has died: their messages come again by themselves, but meanwhile they would
    -- fill the queue's limit, and one whose message was lost would be active for ever.
    -- KEYS: base, root. ARGV: now in ms. Returns: their ids.
    local base, alive, found = KEYS[1], {}, {}
    for _, id in ipairs(redis.call("ZRANGE", base .. "active", 0, 999)) do
        local job = base .. "j:" .. id
        local worker = redis.pcall("HGET", job, "worker") or ""
        if type(worker) == "table" then
            redis.call("ZREM", base .. "active", id) -- no record: its message may bring another
        elseif alive[worker] == nil then
            alive[worker] = redis.call("EXISTS", KEYS[2] .. "w:" .. worker) == 1
        end
        if type(worker) == "string" and not alive[worker] then
            redis.call("ZREM", base .. "active", id)
            redis.call("HINCRBY", job, "crashes", 1)
            redis.call("HDEL", job, "worker")
            among_waiting(base, id)
            redis.call("ZADD", base .. "unsent", ARGV[1], id)
            found[#found + 1] = id
        end
    end
    return found
    """
)
SWEEP = Script(
    """
    -- Jobs whose message may never have reached the broker. KEYS: base.
    -- ARGV: now in ms, and since when at least. Returns: id, record, id, record, …
    local base, answers = KEYS[1], {}
    for _, id in ipairs(redis.call("ZRANGEBYSCORE", base .. "unsent", "-inf", ARGV[2],
        "LIMIT", 0, 100)) do
        local record = redis.pcall("HGETALL", base .. "j:" .. id)
        if record.err or #record == 0 then
            redis.call("ZREM", base .. "unsent", id)
        else
            redis.call("ZADD", base .. "unsent", ARGV[1], id)
            answers[#answers + 1] = id
            answers[#answers + 1] = record
        end
    end
    return answers
    """
)
PUT_SCHEDULE = Script(
    """
    -- KEYS: base, the set of queues. ARGV: queue, key, definition as JSON, when it fires next.
    -- A schedule that is there as it is defined goes on as it is.
    local base, key = KEYS[1], ARGV[2]
    if redis.call("HGET", base .. "s:" .. key, "definition") == ARGV[3]
        and redis.call("ZSCORE", base .. "schedules", key) then
        return 0
    end
    redis.call("HSET", base .. "s:" .. key, "definition", ARGV[3])
    redis.call("ZADD", base .. "schedules", ARGV[4], key)
    redis.call("SADD", KEYS[2], ARGV[1])
    return 1
    """
)
ADVANCE = Script(
    """
    -- A schedule has fired. KEYS: base. ARGV: key, when, when next.
    local base = KEYS[1]
    local due = redis.call("ZSCORE", base .. "schedules", ARGV[1])
    if due and tonumber(due) == tonumber(ARGV[2]) then
        redis.call("ZADD", base .. "schedules", ARGV[3], ARGV[1])
        return 1
    end
    return 0
    """
)
EVERY = tuple(value for value in list(globals().values()) if isinstance(value, Script))
