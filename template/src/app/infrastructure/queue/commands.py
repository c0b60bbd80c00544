"""Commands: `app worker`, and `app jobs …`."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import Annotated

import typer

from app.infrastructure.queue import operations
from app.infrastructure.queue.admin import JobFilter
from app.infrastructure.queue.jobs import DeadReason, JobState

worker = typer.Typer(name="worker", help="Do the jobs of the queues, until SIGTERM or Ctrl-C.")
app = typer.Typer(name="jobs", help="Look at jobs, replay dead ones, pause queues.")

Queue = Annotated[str, typer.Argument(help="The queue.")]
Id = Annotated[str, typer.Argument(help="The job's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
Name = Annotated[str | None, typer.Option("--name", help="Only jobs of this handler.")]
Reason = Annotated[DeadReason | None, typer.Option("--reason", help="Only those that died of it.")]
Trace = Annotated[str | None, typer.Option("--trace", help="Only those of this trace id.")]
Before = Annotated[
    datetime | None, typer.Option("--before", help="Only those that ended before, in UTC.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]


@worker.callback(invoke_without_command=True)
def work(
    queues: Annotated[
        str | None,
        typer.Option(
            "--queues", envvar="WORKER_QUEUES", help="Separated by commas; default: all handlers'."
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            envvar="WORKER_CONCURRENCY",
            min=1,
            help="Jobs at once, per process and queue.",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option("--processes", envvar="WORKER_PROCESSES", min=1, help="Worker processes."),
    ] = None,
    grace: Annotated[
        float | None,
        typer.Option(
            "--grace",
            envvar="WORKER_GRACE",
            min=0.1,
            help="Seconds running jobs may take after SIGTERM.",
        ),
    ] = None,
) -> None:
    """Do the jobs of the queues, until SIGTERM or Ctrl-C."""
    chosen = {
        "WORKER_QUEUES": queues,
        "WORKER_CONCURRENCY": concurrency,
        "WORKER_PROCESSES": processes,
        "WORKER_GRACE": grace,
    }
    # Through the environment: that is how the processes get their settings.
    os.environ.update({name: str(value) for name, value in chosen.items() if value is not None})
    sys.exit(operations.work())


@app.command()
def counts(as_json: AsJson = False) -> None:
    """Show how many jobs each queue has, by state."""
    typer.echo(operations.counts(as_json=as_json))


@app.command(name="list")
def list_jobs(
    queue: Queue,
    state: Annotated[JobState, typer.Option("--state", help="Where they are.")] = JobState.WAITING,
    name: Name = None,
    trace: Trace = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List the jobs of one state."""
    wanted = JobFilter(name=name, trace_id=trace)
    typer.echo(operations.listing(queue, state, wanted, limit, as_json=as_json))


@app.command()
def dead(
    queue: Queue,
    name: Name = None,
    reason: Reason = None,
    trace: Trace = None,
    before: Before = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List the dead jobs, the newest first."""
    wanted = operations.dead_filter(name, reason, trace, before)
    typer.echo(operations.listing(queue, JobState.DEAD, wanted, limit, as_json=as_json))


@app.command()
def show(queue: Queue, job_id: Id) -> None:
    """Show everything that is known of a job, as JSON."""
    typer.echo(operations.show(queue, job_id))


@app.command()
def replay(
    queue: Queue,
    job_ids: Annotated[list[str] | None, typer.Argument(help="Ids; none with --all.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that match the options.")] = False,
    name: Name = None,
    reason: Reason = None,
    trace: Trace = None,
    before: Before = None,
) -> None:
    """Start dead jobs afresh: some by their ids, or all that match."""
    if every == bool(job_ids):
        message = "name the jobs, or say --all"
        raise typer.BadParameter(message)
    wanted = operations.dead_filter(name, reason, trace, before) if every else None
    typer.echo(f"{operations.replay(queue, job_ids or [], wanted)} replayed")


@app.command()
def cancel(queue: Queue, job_id: Id) -> None:
    """Cancel a job: at once if it waits, at its next `await` if it runs."""
    operations.cancel(queue, job_id)


@app.command()
def purge(
    queue: Queue,
    state: Annotated[JobState, typer.Option("--state", help="Which jobs to delete.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Delete all jobs of a state. There is no way back."""
    if not yes:
        typer.confirm(f"Delete all {state} jobs of {queue}?", abort=True)
    typer.echo(f"{operations.purge(queue, state)} deleted")


@app.command()
def pause(queue: Queue) -> None:
    """Let no worker start another job of a queue."""
    operations.pause(queue)


@app.command()
def resume(queue: Queue) -> None:
    """Undo `pause`."""
    operations.resume(queue)


@app.command()
def schedules(as_json: AsJson = False) -> None:
    """List the schedules."""
    typer.echo(operations.schedules(as_json=as_json))


@app.command()
def unschedule(queue: Queue, key: Annotated[str, typer.Argument(help="The schedule.")]) -> None:
    """Remove a schedule. One that a module still declares comes back with the next worker."""
    if not operations.unschedule(queue, key):
        typer.echo(f"{queue} has no schedule {key}", err=True)
        raise typer.Exit(1)
