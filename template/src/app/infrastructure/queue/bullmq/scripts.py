"""The scripts that run in Redis: BullMQ's own, from its package, and a few that it lacks."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from app.core.errors import ConfigurationError
from app.infrastructure.queue.redis_scripts import Script


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
FINISH = _bullmq("moveToFinished-14")
DELAY = _bullmq("moveToDelayed-11")
RETRY_NOW = _bullmq("retryJob-11")
RELEASE = _bullmq("moveJobFromActiveToWait-9")
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

UNCOUNT = Script(
    """
    -- A job that was handed back unfinished: this start does not count.
    -- KEYS: job. ARGV: 1 if other jobs may have been meant to find it alone.
    if redis.call("EXISTS", KEYS[1]) == 1 then
        redis.call("HINCRBY", KEYS[1], "ats", -1)
    end
    return 0
    """
)
CANCEL = Script(
    """
    -- Take a waiting job out and put it among the dead; mark a running one.
    -- KEYS: wait, paused, prioritized, delayed, waiting-children, active, failed, job, events.
    -- ARGV: id, now in ms, failure as JSON.
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
        if redis.call("GET", key) == id then redis.call("DEL", key) end
    end
    redis.call("XADD", KEYS[9], "*", "event", "failed", "jobId", id,
        "failedReason", "cancelled", "prev", "waiting")
    return 1
    """
)
CANCEL_RUNNING = 2
"""What `CANCEL` answers when a worker has to be told."""
EVERY = tuple(value for value in list(globals().values()) if isinstance(value, Script))
