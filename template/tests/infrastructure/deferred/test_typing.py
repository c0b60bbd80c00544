"""What type checkers say: right calls pass, wrong ones are errors.

Never run. Each `ignore` is an assertion: mypy and pyright are told to complain about one that is
not needed.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

from app.infrastructure.deferred import DeferredJobs, Recorder, Tasks
from app.infrastructure.queue import JobHandle
from tests.infrastructure.deferred.services import Draft, EmailService, Ledger


async def right(tasks: Tasks) -> None:
    """Recording is typed as the real class."""

    async def record(run: Recorder) -> None:
        assert_type(run(EmailService), EmailService)
        assert_type(run(EmailService).to("a"), Draft)
        assert_type(run(EmailService).to("a").template("x", locale="de"), Draft)
        assert_type(await run(EmailService).to("a").attach(b""), Draft)
        assert_type(await run(Ledger).add(1, "x", 2, flag=True), int)
        run["EmailService"].to("a")
        run.EmailService.to("a")

    jobs = await tasks.run_later(record, delay=timedelta(minutes=5), dedupe="a", queue="mail")
    assert_type(jobs, DeferredJobs)
    assert_type(jobs[0], JobHandle[Any])
    assert_type(await jobs.results(timeout=5), list[Any])
    await tasks.run_later(lambda run: run(EmailService, attempts=2).to("a").send({}))


async def wrong(tasks: Tasks) -> None:
    """What is refused at run time is refused while it is written, where types can tell."""

    def record(run: Recorder) -> None:
        run(EmailService).too("a")  # type: ignore[attr-defined]
        run(EmailService).to(7)  # type: ignore[arg-type]
        run(EmailService).to()  # type: ignore[call-arg]
        run(EmailService).to("a").template(nam="x")  # type: ignore[call-arg]
        run(EmailService).to("a").print().template("x")  # type: ignore[attr-defined]
        run("EmailService")  # type: ignore[arg-type]
        run(EmailService, retries=3)  # type: ignore[call-arg]

    await tasks.run_later(record, attempts="5")  # type: ignore[arg-type]
    await tasks.run_later(record, retries=3)  # type: ignore[call-arg]
    await tasks.run_later(EmailService)  # type: ignore[arg-type]
