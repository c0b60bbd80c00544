"""What `app compute` prints."""

from __future__ import annotations

import json
from collections.abc import Sequence

from app.core.discovery import discover
from app.core.service import in_service
from app.infrastructure.compute.board import PoolReport
from app.infrastructure.compute.catalog import ComputeMethod, find_methods
from app.infrastructure.compute.health import overview
from app.infrastructure.queue.operations import table

NO_METHODS = "Nothing is computed elsewhere: put @compute() on a method of a provided class"
NO_POOLS = "No pool: none of the API processes that serve now has one"


def methods(*, as_json: bool) -> str:
    """Return the methods, a line each."""
    found = list(find_methods(discover()))
    if as_json:
        return json.dumps([_described(method) for method in found], indent=2)
    return "\n".join(map(_line, found)) or NO_METHODS


def _line(method: ComputeMethod) -> str:
    options = method.options
    limit = f"{options.timeout.total_seconds():g} s" if options.timeout else "no limit"
    waits = "waits" if method.declared.wait else "does not wait"
    return (
        f"{method.name}{method.method.signature}  # {waits}; queue {options.queue}, priority "
        f"{options.priority}, {options.attempts} attempts, {limit}"
    )


def _described(method: ComputeMethod) -> dict[str, object]:
    options = method.options
    return {
        "name": method.name,
        "method": method.method.title,
        "signature": str(method.method.signature),
        "wait": method.declared.wait,
        "queue": options.queue,
        "priority": options.priority,
        "attempts": options.attempts,
        "timeout": options.timeout.total_seconds() if options.timeout else None,
    }


def status(*, as_json: bool) -> str:
    """Return the pools, a line each, and what waits for them."""
    found = in_service(discover(), overview)
    if as_json:
        whole = {
            "pools": [pool.model_dump(mode="json") for pool in found.pools],
            "pending": found.pending,
            "active": found.active,
            "handlers": list(found.handlers),
        }
        return json.dumps(whole, indent=2)
    lines = [_pools(found.pools) if found.pools else NO_POOLS]
    lines.append(f"{found.pending} jobs wait, {found.active} run")
    lines.append(f"handlers: {', '.join(found.handlers) or 'none'}")
    return "\n".join(lines)


def _pools(pools: Sequence[PoolReport]) -> str:
    head = ["POOL", "RUNNING", "IDLE", "STARTING", "LEAVING", "SIZE", "RESTARTS"]
    rows = [
        [
            pool.name,
            *map(str, (pool.running, pool.idle, pool.starting, pool.leaving)),
            f"{pool.smallest} to {pool.largest}",
            f"{pool.restarts}{' (failing)' if pool.failing else ''}",
        ]
        for pool in pools
    ]
    return table([head, *rows])
