"""Looking after jobs over HTTP and from the command line, and the caller's trace in the worker."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from dishka import FromDishka, Provider
from fastapi import APIRouter
from httpx2 import ASGITransport, AsyncClient

from app.api import create_app
from app.core.discovery import Registry, discover
from app.core.folders import APP_ROOT
from app.core.module import Module
from app.core.routing import ScopedRoute
from app.core.settings import load_settings
from app.infrastructure.queue import JobFailedError, JobQueue, JobRecord, JobState, job
from app.infrastructure.queue.schemas import JobRead
from app.infrastructure.queue.testing import StartJobs
from app.infrastructure.redis.keys import KeySpace

PATIENCE = 60.0
TOKEN = "made-up-token-for-tests"
PROGRAM = Path(__file__).with_name("program.py")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
COMMANDS = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from app.cli import main
for line in sys.stdin:
    sys.argv, code = json.loads(line), 0
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""
"""Runs the commands it reads, so that a start of Python serves many."""


@job("dies", attempts=1)
async def dies(value: int) -> None:
    message = f"value {value}"
    raise ValueError(message)


@job("lives", attempts=1)
async def lives(value: int) -> int:
    return value


router = APIRouter(route_class=ScopedRoute, prefix="/probe")


@router.post("/jobs")
async def publish(jobs: FromDishka[JobQueue]) -> str:
    return (await jobs.publish("work", 0.0, headers={"tenant": "a"})).id


@pytest.fixture
async def dead(job_service: StartJobs) -> list[str]:
    """The ids of three dead jobs; one more is done."""
    async with job_service([dies, lives]) as running:
        handles = [await running.jobs.publish(dies, number) for number in range(3)]
        for handle in handles:
            with pytest.raises(JobFailedError):
                await handle.result(timeout=PATIENCE)
        await (await running.jobs.publish(lives, 1)).result(timeout=PATIENCE)
        return [handle.id for handle in handles]


@pytest.fixture
async def http(
    overrides: list[Provider],
    monkeypatch: pytest.MonkeyPatch,
    engine_environment: Mapping[str, str],
) -> AsyncIterator[AsyncClient]:
    """A client of a service that has a token and one more route."""
    monkeypatch.setenv("QUEUE_ADMIN_TOKEN", TOKEN)
    for name, value in engine_environment.items():
        monkeypatch.setenv(name, value)
    modules = discover().modules
    probe = Module(name="probe", summary="Publishes", requires=("queue",), routers=(router,))
    settings = load_settings(modules)
    app = create_app(registry=Registry((*modules, probe)), settings=settings, overrides=overrides)
    async with app.router.lifespan_context(app):
        transport = ASGITransport(app=app, raise_app_exceptions=False)
        async with AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


async def test_the_routes_are_closed_without_a_token(client: AsyncClient) -> None:
    """There is none by default."""
    answer = await client.get("/jobs/queues", headers={"Authorization": "Bearer "})

    assert answer.status_code == 404


async def test_only_the_token_opens_the_routes(http: AsyncClient) -> None:
    for headers in ({}, {"Authorization": "Bearer nearly"}):
        answer = await http.get("/jobs/queues", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_dead_jobs_are_found_and_replayed_over_http(
    dead: list[str], http: AsyncClient
) -> None:
    http.headers["Authorization"] = f"Bearer {TOKEN}"
    (queue,) = (await http.get("/jobs/queues")).json()
    assert (queue["queue"], queue["counts"]["dead"], queue["counts"]["completed"]) == (
        "default",
        3,
        1,
    )
    chosen: dict[str, str | int] = {
        "state": "dead",
        "name": "dies",
        "reason": "attempts",
        "limit": 2,
    }
    listed = (await http.get("/jobs/queues/default", params=chosen)).json()
    assert [record["id"] for record in listed] == [dead[2], dead[1]]
    shown = (await http.get(f"/jobs/queues/default/{dead[0]}")).json()
    assert shown["last_failure"]["message"] == "value 0"
    assert (await http.post(f"/jobs/queues/default/{dead[0]}/replay")).status_code == 204
    assert (await http.post(f"/jobs/queues/default/{dead[0]}/replay")).status_code == 404
    assert (await http.post("/jobs/queues/default/replay")).json() == {"count": 2}
    assert (await http.post(f"/jobs/queues/default/{dead[0]}/cancel")).status_code == 204
    assert (await http.delete("/jobs/queues/default", params={"state": "waiting"})).json() == {
        "count": 2
    }
    refused = await http.delete("/jobs/queues/default", params={"state": "active"})
    assert refused.status_code == 422
    for command, paused in (("pause", True), ("resume", False)):
        assert (await http.post(f"/jobs/queues/default/{command}")).status_code == 204
        assert (await http.get("/jobs/queues")).json()[0]["paused"] is paused
    assert (await http.get("/jobs/schedules")).json() == []
    assert (await http.get("/jobs/queues/default/nobody")).status_code == 404


@pytest.fixture
def jobs_command(
    redis_url: str,
    keys: KeySpace,
    engine_environment: Mapping[str, str],
    tmp_path: Path,
) -> Iterator[Callable[..., str]]:
    """Run `app jobs …` on the queues of the test; return what it prints."""
    env = {
        **os.environ,
        "APP_NAME": keys.prefix,
        **engine_environment,
        "REDIS_URL": redis_url,
        "PYTHONPATH": str(APP_ROOT.parent),
        "NO_COLOR": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", COMMANDS],
        cwd=tmp_path,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        ask, answers = process.stdin, process.stdout
        assert ask
        assert answers

        def run(*words: str, code: int = 0) -> str:
            print(json.dumps(["app", "jobs", *words]), file=ask, flush=True)
            exit_code, printed, errors = json.loads(answers.readline())
            assert exit_code == code, errors
            return str(printed)

        yield run


@pytest.mark.slow
async def test_dead_jobs_are_found_and_replayed_from_the_command_line(
    dead: list[str], jobs_command: Callable[..., str]
) -> None:
    def run() -> None:
        assert jobs_command("counts").splitlines()[1].split()[0] == "default"
        (queue,) = json.loads(jobs_command("counts", "--json"))
        assert queue["counts"]["dead"] == 3
        table = jobs_command("dead", "default", "--limit", "2").splitlines()
        assert [line.split()[0] for line in table] == ["ID", dead[2], dead[1]]
        assert json.loads(jobs_command("show", "default", dead[0]))["body"] == "0"
        assert jobs_command("replay", "default", dead[0]) == "1 replayed\n"
        jobs_command("replay", "default", dead[0], code=1)
        jobs_command("replay", "default", code=2)
        assert jobs_command("replay", "default", "--all", "--name", "dies") == "2 replayed\n"
        assert len(jobs_command("list", "default").splitlines()) == 4
        jobs_command("cancel", "default", dead[1])
        jobs_command("pause", "default")
        assert "default (paused)" in jobs_command("counts")
        jobs_command("resume", "default")
        assert jobs_command("purge", "default", "--state", "waiting", "--yes") == "2 deleted\n"
        assert jobs_command("schedules").split() == ["QUEUE", "KEY", "JOB", "WHEN", "NEXT"]
        jobs_command("unschedule", "default", "nothing", code=1)

    await asyncio.to_thread(run)


def test_bytes_that_are_no_text_can_be_shown() -> None:
    """What could not be decoded is dead, and lies there as halves of surrogates."""
    record = JobRecord(id="a", queue="default", state=JobState.DEAD, name="\udcff", body="\udcfe")

    shown = json.loads(JobRead.model_validate(record).model_dump_json())

    assert (shown["name"], shown["body"]) == ("\\udcff", "\\udcfe")


async def test_lines_of_a_request_and_of_its_job_share_the_trace(
    http: AsyncClient,
    redis_url: str,
    keys: KeySpace,
    engine_environment: Mapping[str, str],
    tmp_path: Path,
) -> None:
    """Through a real request and a real worker process."""
    parent = f"00-{TRACE}-00f067aa0ba902b7-01"
    answer = await http.post("/probe/jobs", headers={"traceparent": parent})
    job_id = answer.json()
    env = {
        **os.environ,
        "APP_NAME": keys.prefix,
        "APP_ROLE": "worker",
        "LOG_FORMAT": "json",
        "LEDGER": str(tmp_path / "ledger"),
        "PYTHONPATH": os.pathsep.join(sys.path),
        **engine_environment,
        "REDIS_URL": redis_url,
    }
    worker = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), env=env, stdout=asyncio.subprocess.PIPE
    )
    assert worker.stdout is not None
    lines: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE):
        while not any("completed" in line["message"] for line in lines):
            lines.append(json.loads(await worker.stdout.readline()))
    worker.terminate()
    await worker.communicate()
    done = next(line for line in lines if "completed" in line["message"])
    assert (done["trace_id"], done["job_id"]) == (TRACE, job_id)
