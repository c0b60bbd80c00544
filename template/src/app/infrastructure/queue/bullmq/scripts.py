"""The scripts that run in Redis: BullMQ's own, from its package, and a few that it lacks."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from app.core.errors import ConfigurationError
from app.infrastructure.queue.redis_scripts import Script
from app.infrastructure.queue.signals import LONGEST_RESULT, RESULT


def _folder() -> Path:
    """Find the package's scripts without importing it: only they are used."""
    found = find_spec("bullmq")
    if found is None or not found.submodule_search_locations:
        message = "QUEUE_ENGINE=bullmq needs the package bullmq: `uv add bullmq`"
        raise ConfigurationError(message)
    return Path(found.submodule_search_locations[0]) / "commands"


COMMANDS = _folder()


def _bullmq(name: str) -> Script:
    return Script((COMMANDS / f"{name}.lua").read_text(encoding="utf-8"))


ADD = _bullmq("addStandardJob-9")
ADD_DELAYED = _bullmq("addDelayedJob-6")
ADD_PRIORITIZED = _bullmq("addPrioritizedJob-9")
ADD_PARENT = _bullmq("addParentJob-6")
TAKE = _bullmq("moveToActive-11")
FINISH = Script(
    f"""
    -- BullMQ's script, and after it, unless it refuses, word of the end: on the job's channel
    -- ARGV[10], and on ARGV[11], that of the process that waits for it.
    local function finish()
    {_bullmq("moveToFinished-14").source}
    end
    local answer = finish()
    if type(answer) ~= "number" or answer >= 0 then
        local small = ARGV[5] == "completed" and #ARGV[4] <= {LONGEST_RESULT}
        local said = small and "{RESULT}" .. ARGV[4] or ""
        redis.call("PUBLISH", ARGV[10], said)
        if ARGV[11] ~= "" then redis.call("PUBLISH", ARGV[11], ARGV[10] .. "\\n" .. said) end
    end
    return answer
    """
)
DELAY = _bullmq("moveToDelayed-11")
RETRY_NOW = _bullmq("retryJob-11")
RELEASE = Script(
    f"""
    -- BullMQ's script. Unless it refuses, this start does not count, nor that it ran alone.
    -- ARGV[3]: the job's key.
    local function release()
    {_bullmq("moveJobFromActiveToWait-9").source}
    end
    local answer = release()
    if (type(answer) ~= "number" or answer >= 0) and redis.call("EXISTS", ARGV[3]) == 1 then
        redis.call("HINCRBY", ARGV[3], "ats", -1)
        redis.call("HDEL", ARGV[3], "alone")
    end
    return answer
    """
)
EXTEND = _bullmq("extendLocks-1")
RECOVER = _bullmq("moveStalledJobsToWait-9")
STATE = _bullmq("getStateV2-8")
REPROCESS = _bullmq("reprocessJob-9")
PROGRESS = _bullmq("updateProgress-3")
CLEAN = _bullmq("cleanJobsInSet-3")
PAUSE = _bullmq("pause-7")
REMOVE_SCHEDULER = _bullmq("removeJobScheduler-3")
ADD_SCHEDULER = _bullmq("addJobScheduler-11")
NEXT_OF_SCHEDULER = _bullmq("updateJobScheduler-12")

AFRESH = Script(
    """
    -- Forget how a dead job ended, and count its age from now: it may have expired.
    -- KEYS: failed, job. ARGV: id, now in ms, the fields to delete. Returns whether it is dead.
    if not redis.call("ZSCORE", KEYS[1], ARGV[1]) then return 0 end
    redis.call("HDEL", KEYS[2], unpack(ARGV, 3))
    if redis.call("EXISTS", KEYS[2]) == 1 then
        redis.call("HSET", KEYS[2], "timestamp", ARGV[2])
    end
    return 1
    """
)
FAIL_PARENT = """
    local function fail_parent(key, now)
        -- What BullMQ's `moveToFinished` does for the parent of a child that failed ("fpof").
        local written = redis.call("HGET", key, "parent")
        if not written then return end
        local known = cjson.decode(written)
        local base, id = known["queueKey"] .. ":", known["id"]
        local parent = base .. id
        if redis.call("SREM", parent .. ":dependencies", key) == 0 then return end
        redis.call("ZADD", parent .. ":unsuccessful", now, key)
        if redis.call("EXISTS", parent) == 0 then return end
        redis.call("HSET", parent, "defa", "child " .. key .. " failed")
        if redis.call("ZREM", base .. "waiting-children", id) == 1 then
            redis.call("RPUSH", base .. "wait", id)
            redis.call("ZADD", base .. "marker", 0, "0")
            redis.call("XADD", base .. "events", "*", "event", "waiting", "jobId", id,
                "prev", "waiting-children")
        end
    end
"""
ORPHAN = Script(
    FAIL_PARENT
    + """
    -- The jobs `CLEAN` takes are about to be deleted: what waits for one of them would wait for
    -- ever, or, in stock BullMQ, be deleted as well. In one transaction with it: a worker that
    -- takes some in between would have it delete others.
    -- KEYS: where they are. ARGV: the queue's base, now in ms, how many at most.
    local kind = redis.call("TYPE", KEYS[1])["ok"]
    local ids = kind == "list" and redis.call("LRANGE", KEYS[1], -ARGV[3], -1)
        or redis.call("ZRANGE", KEYS[1], 0, ARGV[3] - 1)
    for _, id in ipairs(ids) do fail_parent(ARGV[1] .. id, ARGV[2]) end
    return 0
    """
)
CANCEL = Script(
    FAIL_PARENT
    + r"""
    -- Take a waiting job out and put it among the dead; mark a running one.
    -- KEYS: wait, paused, prioritized, delayed, waiting-children, active, failed, job, events.
    -- ARGV: id, now in ms, failure as JSON, the job's channel of ends.
    -- Returns 0: nothing to cancel, 1: cancelled, 2: its worker has to be told.
    if redis.call("EXISTS", KEYS[8]) == 0 then return 0 end
    local id = ARGV[1]
    local found = redis.call("LREM", KEYS[1], 1, id) + redis.call("LREM", KEYS[2], 1, id)
        + redis.call("ZREM", KEYS[3], id) + redis.call("ZREM", KEYS[4], id)
        + redis.call("ZREM", KEYS[5], id)
    if found == 0 then
        if redis.call("LPOS", KEYS[6], id) then
            redis.call("HSET", KEYS[8], "cancel", "1")
            return 2
        end
        return 0
    end
    -- Through the worker's way would need one; so what `moveToFinished` writes is written here.
    redis.call("ZADD", KEYS[7], ARGV[2], id)
    redis.call("HSET", KEYS[8], "failedReason", "cancelled", "finishedOn", ARGV[2],
        "reason", "cancelled", "last", ARGV[3])
    local deduplication = redis.call("HGET", KEYS[8], "deid")
    if deduplication then
        local key = string.sub(KEYS[8], 1, #KEYS[8] - #id) .. "de:" .. deduplication
        -- One with a window holds until that is over.
        if redis.call("GET", key) == id and redis.call("PTTL", key) == -1 then
            redis.call("DEL", key)
        end
    end
    redis.call("XADD", KEYS[9], "*", "event", "failed", "jobId", id,
        "failedReason", "cancelled", "prev", "waiting")
    fail_parent(KEYS[8], ARGV[2])
    redis.call("PUBLISH", ARGV[4], "")
    pcall(function()
        -- There may be no options, or nobody who waits.
        local options = cjson.decode(redis.call("HGET", KEYS[8], "opts"))
        redis.call("PUBLISH", cjson.decode(options["tm"])["reply-to"], ARGV[4] .. "\n")
    end)
    return 1
    """
)
CANCEL_RUNNING = 2
"""What `CANCEL` answers when a worker has to be told."""
EVERY = tuple(value for value in list(globals().values()) if isinstance(value, Script))
