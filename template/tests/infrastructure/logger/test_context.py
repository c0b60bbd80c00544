"""The context reaches every line: in tasks by itself, in threads with `in_context`."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import pytest
from loguru import logger

from app.infrastructure.logger import (
    LogContext,
    bind_context,
    current_context,
    in_context,
    set_user,
)
from app.infrastructure.logger.testing import LogLines

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_it_is_empty_outside_of_a_request() -> None:
    assert current_context() == LogContext()
    assert current_context().traceparent is None


def test_it_is_on_every_line_of_the_block_and_on_none_after(log_lines: LogLines) -> None:
    with bind_context(trace_id=TRACE, user_id="7"), bind_context(role="admin"):
        logger.info("inside")
    logger.info("outside")

    inside, outside = log_lines
    assert (inside["trace_id"], inside["user_id"], inside["role"]) == (TRACE, "7", "admin")
    assert {"trace_id", "user_id", "role"}.isdisjoint(outside)


def test_a_field_it_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="colour"), bind_context(colour="x"):
        pass


def test_it_gives_the_header_for_calls_to_others() -> None:
    with bind_context(trace_id=TRACE, span_id="b7ad6b7169203331", sampled=False) as context:
        assert context.traceparent == f"00-{TRACE}-b7ad6b7169203331-00"


async def test_tasks_and_to_thread_carry_it(log_lines: LogLines) -> None:
    async def work() -> None:
        logger.info("in a task")

    with bind_context(trace_id=TRACE):
        task = asyncio.create_task(work())
        await asyncio.to_thread(logger.info, "in a thread")
    await task

    assert {(line["message"], line["trace_id"]) for line in log_lines} == {
        ("in a task", TRACE),
        ("in a thread", TRACE),
    }


def test_a_thread_carries_it_when_told_to(log_lines: LogLines) -> None:
    with bind_context(trace_id=TRACE):
        threads = [
            Thread(target=in_context(logger.info), args=("with",)),
            Thread(target=logger.info, args=("without",)),
        ]
    for thread in threads:
        thread.start()
        thread.join()

    assert [line.get("trace_id") for line in log_lines] == [TRACE, None]


def test_one_function_in_context_runs_in_many_threads_at_once() -> None:
    def work(number: int) -> tuple[int, str | None]:
        return number, current_context().trace_id

    with bind_context(trace_id=TRACE):
        bound = in_context(work)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(bound, range(20))) == [(number, TRACE) for number in range(20)]


async def test_two_tasks_do_not_see_each_other() -> None:
    async def visit(user: str) -> bool:
        set_user(user)
        await asyncio.sleep(0)
        return current_context().user_id == user

    assert all(await asyncio.gather(visit("1"), visit("2")))
    assert current_context().user_id is None
