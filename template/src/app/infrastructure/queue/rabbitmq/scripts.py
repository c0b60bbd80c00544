"""The scripts publishers and workers run all the time. Each is one step that happens or does not.

`lua` says what lies in Redis, `upkeep_scripts` has those that look after queues.
"""

from __future__ import annotations

from app.infrastructure.queue.rabbitmq.lua import with_common
from app.infrastructure.queue.redis_scripts import Script
from app.infrastructure.queue.signals import LONGEST_RESULT, RESULT

ADD = with_common(
    """
    -- KEYS: the set of queues, then the base of each job.
    -- ARGV: now in ms; for each job: id, queue, name, body, options, headers, created, priority,
    --   turn, due, deduplication key, its window in ms, parent, number of children, unsent.
    -- Returns for each: id, turn of the message that has to be sent, 0 if none. Or nothing was
    -- added, and "", id: this child is not new.
    local now, at, answers, seen = ARGV[1], 1, {}, {}
    for i = 2, #KEYS do
        local id, parent = ARGV[15 * i - 28], ARGV[15 * i - 16]
        if parent ~= "" then
            local known = redis.call("HMGET", KEYS[i] .. "j:" .. id, "state", "parent")
            if known[1] and known[1] ~= "gone" and known[2] ~= parent then return {"", id} end
        end
    end
    -- Published again with other children: it waits for these as well.
    local adopts = redis.call("HGET", KEYS[2] .. "j:" .. ARGV[2], "state") == "blocked"
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
        local old = redis.call("HMGET", job, "state", "turn")
        if holder and holder ~= id then
            answers[#answers] = holder
            answers[#answers + 1] = 0
        elseif old[1] and (old[1] ~= "gone" or unsent == "0") then
            answers[#answers + 1] = redis.call("ZSCORE", base .. "unsent", id) and tonumber(old[2])
                or 0
        else
            if old[1] then
                -- Deleted, and a message about it may still come: that is of an earlier turn.
                turn = tonumber(old[2]) + 1
                redis.call("DEL", job)
            end
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
            if parent ~= "" then
                redis.call("HSET", job, "parent", parent)
                if adopts then redis.call("HINCRBY", KEYS[2] .. "j:" .. ARGV[2], "pending", 1) end
            end
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
            answers[#answers + 1] = unsent == "1" and tonumber(turn) or 0
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
CLAIM = with_common(
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
            -- What the mark was kept for has come; it may have been sent twice.
            if state == "gone" and known[2] == "1" then redis.call("PEXPIRE", job, 86400000) end
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
SETTLE = with_common(
    f"""
    local LONGEST_RESULT, RESULT = {LONGEST_RESULT}, "{RESULT}"
    """
    """
    -- What became of jobs this worker ran.
    -- KEYS: base, root. ARGV: now in ms, worker, ms and number of completed jobs kept, ms of dead
    --   ones, channel of ends; for each: verdict, id, text, reason, due, whether a message is out,
    --   channel of who waits for it.
    -- Returns: a list of woken parents (queue, id, …); then for each: 1 settled, 0 not this
    --   worker's, and its turn.
    local base, root = KEYS[1], KEYS[2]
    local now, worker = tonumber(ARGV[1]), ARGV[2]
    local woken, ended = {}, 0
    local answers = {woken}
    for i = 7, #ARGV, 7 do
        local verdict, id, text, reason, due, out, reply = unpack(ARGV, i, i + 6)
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
                local small = verdict == "completed" and #text <= LONGEST_RESULT
                tell(ARGV[6] .. id, small and RESULT .. text or "", reply)
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
                redis.call("HDEL", job, "worker", "alone")
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
        forget_old(base, "completed", now, tonumber(ARGV[3]), tonumber(ARGV[4]), limit)
        forget_old(base, "dead", now, tonumber(ARGV[5]), math.huge, limit)
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
EVERY = tuple(value for value in list(globals().values()) if isinstance(value, Script))
