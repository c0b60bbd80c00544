"""The scripts that keep the records of jobs in Redis. Each is one step that happens or does not.

The keys of a queue begin with its base: `j:<id>` the record of a job, a sorted set for each state,
`unsent` those whose message may not have reached the broker, `k:<id>` the results of the jobs one
depends on, `de:<key>` deduplication, `meta` limits and pause, `schedules` and `s:<key>`.
"""

from __future__ import annotations

from app.infrastructure.queue.redis_scripts import Script

COMMON = """
    local function place(base, state, id, score)
        redis.call("ZADD", base .. state, score, id)
        redis.call("HSET", base .. "j:" .. id, "state", state)
    end
    local function among_waiting(base, id)
        -- Priorities one after the other, each in the order of creation.
        local known = redis.call("HMGET", base .. "j:" .. id, "priority", "created")
        place(base, "waiting", id, tonumber(known[1] or 0) * 1e13 + tonumber(known[2] or 0))
    end
    local function forget(base, state, id)
        local job = base .. "j:" .. id
        local known = redis.call("HMGET", job, "parked", "pending")
        redis.call("ZREM", base .. state, id)
        redis.call("DEL", job)
        if known[2] then redis.call("DEL", base .. "k:" .. id) end
        if known[1] then
            -- A message about it is still on its way: it must not be taken for an unknown job.
            redis.call("HSET", job, "state", "gone")
            redis.call("PEXPIRE", job, 3600000)
        end
    end
    local function forget_old(base, state, before, most, limit)
        local set = base .. state
        for _, id in ipairs(redis.call("ZRANGEBYSCORE", set, "-inf", before, "LIMIT", 0, limit)) do
            forget(base, state, id)
        end
        local over = math.min(redis.call("ZCARD", set) - most, limit)
        if over > 0 then
            for _, id in ipairs(redis.call("ZRANGE", set, 0, over - 1)) do
                forget(base, state, id)
            end
        end
    end
    local function open_key(base, id, key)
        key = key or redis.call("HGET", base .. "j:" .. id, "deduplication")
        if key and redis.call("GET", base .. "de:" .. key) == id then
            redis.call("DEL", base .. "de:" .. key)
        end
    end
    local function tell_parent(root, now, id, parent, result, woken)
        -- result: JSON text; nil: the job is dead. Those that can go on are added to `woken`.
        local queue, parent_id = string.match(parent, "^([^:]+):(.*)$")
        local base = root .. queue .. ":"
        local job = base .. "j:" .. parent_id
        if redis.call("EXISTS", job) == 0 then return end
        local ready
        if result then
            redis.call("HSET", base .. "k:" .. parent_id, id, result)
            ready = redis.call("HINCRBY", job, "pending", -1) == 0
        else
            redis.call("HSETNX", job, "blocked_by", "job " .. id .. " is dead")
            ready = true
        end
        if ready and redis.call("HGET", job, "state") == "blocked" then
            redis.call("ZREM", base .. "blocked", parent_id)
            among_waiting(base, parent_id)
            redis.call("ZADD", base .. "unsent", now, parent_id)
            woken[#woken + 1] = queue
            woken[#woken + 1] = parent_id
        end
    end
"""


def _with_common(body: str) -> Script:
    return Script(COMMON + body)


ADD = _with_common(
    """
    -- KEYS: the set of queues, then the base of each job.
    -- ARGV: now in ms; for each job: id, queue, name, body, options, headers, created, priority,
    --   turn, due, deduplication key, its window in ms, parent, number of children, unsent.
    -- Returns for each: id, 1 if a message has to be sent.
    local now, at, answers, seen = ARGV[1], 1, {}, {}
    for i = 2, #KEYS do
        local base = KEYS[i]
        local id, queue, name, body, options, headers, created, priority, turn, due, key, window,
            parent, children, unsent = unpack(ARGV, at + 1, at + 15)
        at = at + 15
        local job = base .. "j:" .. id
        local holder = key ~= "" and redis.call("GET", base .. "de:" .. key)
        if holder and window == "0" and redis.call("EXISTS", base .. "j:" .. holder) == 0 then
            holder = false
        end
        answers[#answers + 1] = id
        if holder and holder ~= id then
            answers[#answers] = holder
            answers[#answers + 1] = 0
        elseif redis.call("HEXISTS", job, "state") == 1 then
            answers[#answers + 1] = redis.call("ZSCORE", base .. "unsent", id) and 1 or 0
        else
            local state, score = "waiting", tonumber(priority) * 1e13 + tonumber(created)
            if children ~= "0" then
                state, score, unsent = "blocked", created, "0"
                redis.call("HSET", job, "pending", children)
            elseif due ~= "0" then
                state, score = "delayed", due
            end
            redis.call("HSET", job, "name", name, "body", body, "options", options,
                "headers", headers, "created", created, "priority", priority, "turn", turn,
                "due", due, "state", state)
            redis.call("ZADD", base .. state, score, id)
            if parent ~= "" then redis.call("HSET", job, "parent", parent) end
            if key ~= "" then
                if window == "0" then
                    redis.call("SET", base .. "de:" .. key, id)
                    redis.call("HSET", job, "deduplication", key)
                else
                    redis.call("SET", base .. "de:" .. key, id, "PX", window)
                end
            end
            if unsent == "1" then redis.call("ZADD", base .. "unsent", now, id) end
            if not seen[queue] then
                seen[queue] = true
                redis.call("SADD", KEYS[1], queue)
            end
            answers[#answers + 1] = unsent == "1" and 1 or 0
        end
    end
    return answers
    """
)
SENT = Script(
    """
    -- The broker has confirmed messages. KEYS: the base of each job. ARGV: id, turn of each.
    for i, base in ipairs(KEYS) do
        local id = ARGV[2 * i - 1]
        if redis.call("HGET", base .. "j:" .. id, "turn") == ARGV[2 * i] then
            redis.call("ZREM", base .. "unsent", id)
        end
    end
    return 0
    """
)
CLAIM = _with_common(
    """
    -- Which of these messages may be started by this worker now?
    -- KEYS: base, root. ARGV: now in ms, worker, its lock in ms; for each: id, turn.
    -- Returns: paused, ms to wait; then for each a list: code, and what belongs to it.
    --   run, starts, history · mine, starts, history · drop · unknown · held, ms · later
    local base, now, worker = KEYS[1], tonumber(ARGV[1]), ARGV[2]
    local leases = KEYS[2] .. "w:"
    redis.call("SET", leases .. worker, 1, "PX", ARGV[3])
    local meta = redis.call("HMGET", base .. "meta", "paused", "concurrency", "rate", "per")
    local room = meta[2] and tonumber(meta[2]) - redis.call("ZCARD", base .. "active")
    local wait = 0
    local function may_start()
        if meta[1] then return false end
        if room and room <= 0 then
            wait = math.max(wait, 50)
            return false
        end
        if meta[3] then
            if tonumber(redis.call("GET", base .. "limiter") or 0) >= tonumber(meta[3]) then
                wait = math.max(wait, redis.call("PTTL", base .. "limiter"), 1)
                return false
            end
            if redis.call("INCR", base .. "limiter") == 1 then
                redis.call("PEXPIRE", base .. "limiter", meta[4])
            end
        end
        if room then room = room - 1 end
        return true
    end
    local answers = {meta[1] and 1 or 0, 0}
    for i = 4, #ARGV, 2 do
        local id = ARGV[i]
        local job = base .. "j:" .. id
        local known = redis.call("HMGET", job, "state", "turn", "worker", "starts", "failures",
            "crashes", "alone", "cancel", "first", "last", "blocked_by")
        local state, answer = known[1], nil
        if not state then
            answer = {"unknown"}
        elseif state == "completed" or state == "dead" or state == "gone" or state == "blocked"
            or tonumber(ARGV[i + 1]) < tonumber(known[2]) then
            answer = {"drop"}
        elseif state == "active" and known[3] == worker then
            answer = {"mine", tonumber(known[4])}
        elseif state == "active" and redis.call("EXISTS", leases .. known[3]) == 1 then
            redis.call("HSET", job, "parked", 1)
            answer = {"held", redis.call("PTTL", leases .. known[3])}
        else
            if state == "active" then
                known[6] = redis.call("HINCRBY", job, "crashes", 1)
                redis.call("ZREM", base .. "active", id)
                redis.call("HDEL", job, "worker")
                among_waiting(base, id)
                state = "waiting"
            end
            if may_start() then
                redis.call("ZREM", base .. state, id)
                redis.call("ZREM", base .. "unsent", id)
                redis.call("ZADD", base .. "active", now, id)
                redis.call("HSET", job, "worker", worker, "started", now, "state", "active")
                answer = {"run", redis.call("HINCRBY", job, "starts", 1)}
            else
                answer = {"later"}
            end
        end
        if answer[2] and answer[1] ~= "held" then
            local history = {}
            if known[5] or known[6] or known[8] or known[11] then
                for at, name in pairs({[5] = "failures", [6] = "crashes", [7] = "alone",
                    [8] = "cancel", [9] = "first", [10] = "last", [11] = "blocked_by"}) do
                    if known[at] then
                        history[#history + 1] = name
                        history[#history + 1] = tostring(known[at])
                    end
                end
            end
            answer[3] = history
        end
        answers[#answers + 1] = answer
    end
    if #ARGV == 3 and room and room <= 0 then wait = 50 end
    answers[2] = wait
    return answers
    """
)
SETTLE = _with_common(
    """
    -- What became of jobs this worker ran.
    -- KEYS: base, root. ARGV: now in ms, worker, ms and number of completed jobs kept, ms of dead
    --   ones, channel of ends; for each: verdict, id, text, reason, due, whether a message is out.
    -- Returns: a list of woken parents (queue, id, …); then for each: 1 settled, 0 not this
    --   worker's, and its turn.
    local base, root = KEYS[1], KEYS[2]
    local now, worker = tonumber(ARGV[1]), ARGV[2]
    local woken, ended = {}, 0
    local answers = {woken}
    for i = 7, #ARGV, 6 do
        local verdict, id, text, reason, due, out = unpack(ARGV, i, i + 5)
        local job = base .. "j:" .. id
        local known = redis.call("HMGET", job, "state", "worker", "turn", "parent",
            "deduplication")
        local turn = tonumber(known[3] or 0)
        if known[2] ~= worker then
            answers[#answers + 1] = {0, turn}
        elseif known[1] ~= "active" then
            -- Told before, and the answer was lost.
            answers[#answers + 1] = {1, turn}
        else
            redis.call("ZREM", base .. "active", id)
            if out == "1" then redis.call("HSET", job, "parked", 1) end
            if verdict == "completed" or verdict == "dead" then
                if verdict == "completed" then
                    redis.call("HSET", job, "ended", now, "state", verdict, "result", text)
                else
                    redis.call("HSETNX", job, "first", text)
                    redis.call("HSET", job, "ended", now, "state", verdict, "reason", reason,
                        "last", text)
                end
                redis.call("ZADD", base .. verdict, now, id)
                if known[5] then open_key(base, id, known[5]) end
                if known[4] then
                    local result = verdict == "completed" and text or nil
                    tell_parent(root, now, id, known[4], result, woken)
                end
                redis.call("PUBLISH", ARGV[6] .. id, "")
                ended = ended + 1
            elseif verdict == "retry" then
                turn = redis.call("HINCRBY", job, "turn", 1)
                redis.call("HINCRBY", job, "failures", 1)
                redis.call("HSETNX", job, "first", text)
                redis.call("HSET", job, "last", text, "due", due)
                redis.call("ZADD", base .. "unsent", now, id)
                if due == "0" then among_waiting(base, id) else place(base, "delayed", id, due) end
            else
                redis.call("HINCRBY", job, "starts", -1)
                redis.call("HDEL", job, "worker")
                among_waiting(base, id)
                if out == "1" then
                    turn = redis.call("HINCRBY", job, "turn", 1)
                    redis.call("HSET", job, "due", 0)
                    redis.call("ZADD", base .. "unsent", now, id)
                end
            end
            answers[#answers + 1] = {1, turn}
        end
    end
    if ended > 0 then
        local limit = ended + 10
        forget_old(base, "completed", now - tonumber(ARGV[3]), tonumber(ARGV[4]), limit)
        forget_old(base, "dead", now - tonumber(ARGV[5]), math.huge, limit)
    end
    return answers
    """
)
BURY = _with_common(
    """
    -- Let a job that waits be dead. KEYS: base, root.
    -- ARGV: now in ms, id, failure as JSON, channel of ends, reason.
    -- Returns: 0 nothing to cancel, 1 cancelled, 2 its worker has to be told; woken parents.
    local base, id, woken = KEYS[1], ARGV[2], {}
    local job = base .. "j:" .. id
    local known = redis.call("HMGET", job, "state", "parent")
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
    redis.call("PUBLISH", ARGV[4] .. id, "")
    return {1, woken}
    """
)
REPLAY = _with_common(
    """
    -- Start a dead job afresh. KEYS: base. ARGV: now in ms, id. Returns whether it was dead.
    local base, id = KEYS[1], ARGV[2]
    local job = base .. "j:" .. id
    if redis.call("ZREM", base .. "dead", id) == 0 then return 0 end
    redis.call("HDEL", job, "starts", "failures", "crashes", "alone", "cancel", "first", "last",
        "reason", "blocked_by", "result", "progress", "worker", "started", "ended")
    redis.call("HSET", job, "due", 0)
    redis.call("HINCRBY", job, "turn", 1)
    among_waiting(base, id)
    redis.call("ZADD", base .. "unsent", ARGV[1], id)
    return 1
    """
)
PURGE = _with_common(
    """
    -- Delete jobs of a state. KEYS: base. ARGV: state, how many at most, 1 if messages are out.
    local base = KEYS[1]
    local ids = redis.call("ZRANGE", base .. ARGV[1], 0, ARGV[2] - 1)
    for _, id in ipairs(ids) do
        if ARGV[3] == "1" then redis.call("HSET", base .. "j:" .. id, "parked", 1) end
        local due = tonumber(redis.call("HGET", base .. "j:" .. id, "due") or 0)
        open_key(base, id)
        redis.call("ZREM", base .. "unsent", id)
        forget(base, ARGV[1], id)
        if ARGV[3] == "1" and due > 0 then
            redis.call("PEXPIREAT", base .. "j:" .. id, due + 86400000)
        end
    end
    return #ids
    """
)
SWEEP = Script(
    """
    -- Jobs whose message may never have reached the broker. KEYS: base.
    -- ARGV: now in ms, and since when at least. Returns: id, record, id, record, …
    local base, answers = KEYS[1], {}
    for _, id in ipairs(redis.call("ZRANGEBYSCORE", base .. "unsent", "-inf", ARGV[2],
        "LIMIT", 0, 100)) do
        local record = redis.call("HGETALL", base .. "j:" .. id)
        if #record == 0 then
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
NOTE = Script(
    """
    -- KEYS: a job. ARGV: added to its starts, a field, its value or nothing to delete it.
    if redis.call("HEXISTS", KEYS[1], "state") == 0 then return 0 end
    if ARGV[1] ~= "0" then redis.call("HINCRBY", KEYS[1], "starts", ARGV[1]) end
    if ARGV[3] == "" then
        redis.call("HDEL", KEYS[1], ARGV[2])
    else
        redis.call("HSET", KEYS[1], ARGV[2], ARGV[3])
    end
    return 1
    """
)

PROGRESS = Script(
    """
    -- KEYS: job. ARGV: JSON text.
    if redis.call("HGET", KEYS[1], "state") == "active" then
        redis.call("HSET", KEYS[1], "progress", ARGV[1])
    end
    return 0
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
