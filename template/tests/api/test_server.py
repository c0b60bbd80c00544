"""The end of a service under load, with real processes and real signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from httpx2 import AsyncClient, Limits, Response, TransportError

from app.core.folders import APP_ROOT
from tests.ports import free_port

pytestmark = pytest.mark.slow
PATIENCE = 60.0
"""Seconds for what should take a moment; a loaded machine may need more than that."""
BALANCER_SECONDS = 5.0
PAUSE = 0.05
MARK = "slow-request-has-arrived"
RELEASE = "held-requests-may-end"
SCRIPT = Path(__file__).with_name("slow_service.py")


class Service:
    """A running slow service."""

    def __init__(self, folder: Path, process: subprocess.Popen[str], client: AsyncClient) -> None:
        self.folder = folder
        self.process = process
        self.client = client

    async def slow(self, seconds: float) -> Response:
        return await self.client.get("/slow", params={"seconds": seconds})

    async def is_ready(self) -> bool:
        """Ask on a connection of its own, as a load balancer does.

        While requests are finished a connection may be taken by the system, and by nobody else.
        """
        async with AsyncClient(base_url=self.client.base_url, timeout=BALANCER_SECONDS) as client:
            try:
                return (await client.get("/health/ready")).status_code == 200
            except TransportError:
                return False

    async def until_ready(self, *, wanted: bool = True) -> None:
        """Wait until it is ready, or until it is not."""
        for _ in range(int(PATIENCE / PAUSE)):
            assert not wanted or self.process.poll() is None, self.process.communicate()[0]
            if await self.is_ready() is wanted:
                return
            await asyncio.sleep(PAUSE)
        pytest.fail(f"it did not become {wanted=} in time")

    async def in_flight(self) -> asyncio.Task[Response]:
        """Begin a request and wait until it has arrived; it is answered after `release`."""
        (self.folder / MARK).unlink(missing_ok=True)
        task = asyncio.create_task(self.client.get("/held"))
        for _ in range(int(PATIENCE / PAUSE)):
            if (self.folder / MARK).exists():
                return task
            await asyncio.sleep(PAUSE)
        pytest.fail("it did not arrive in time")

    def release(self) -> None:
        (self.folder / RELEASE).touch()

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    async def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what was printed."""
        output, _ = await asyncio.to_thread(self.process.communicate, timeout=PATIENCE)
        return self.process.returncode, output


@contextlib.asynccontextmanager
async def running(tmp_path: Path, workers: int = 1, **settings: str) -> AsyncIterator[Service]:
    """Start the slow service in a folder of its own; kill what is left of it at last."""
    port = free_port()
    path = os.pathsep.join(map(str, (APP_ROOT.parent, SCRIPT.parent)))
    process = subprocess.Popen(  # noqa: ASYNC220 - asyncio's own does not outlive its loop
        [sys.executable, str(SCRIPT), str(port), str(workers)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "APP_ENV_FILE": "", **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    client = AsyncClient(
        base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, limits=Limits(max_connections=None)
    )
    try:
        async with client:
            yield Service(tmp_path, process, client)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@contextlib.asynccontextmanager
async def serving(tmp_path: Path, workers: int = 1, **settings: str) -> AsyncIterator[Service]:
    """As `running`; it is ready."""
    async with running(tmp_path, workers, **settings) as service:
        await service.until_ready()
        yield service


async def is_cut(request: asyncio.Task[Response]) -> bool:
    """Tell whether the request was given up: it is said where there is still time to say it."""
    try:
        response = await request
    except TransportError:
        return True
    return response.status_code == 503 and response.json()["type"] == "/problems/stopped"


async def test_no_keep_alive_request_fails_while_it_ends(tmp_path: Path) -> None:
    """R23: 200 requests a second; the client stops when readiness says so, and not before."""
    leaving = asyncio.Event()
    answers: list[int | str] = []

    async def keep_asking(service: Service) -> None:
        while not leaving.is_set():
            try:
                response = await service.slow(0.05)
                answers.append(response.status_code)
            except TransportError as error:
                answers.append(repr(error))

    async def watch(service: Service) -> None:
        await service.until_ready(wanted=False)
        before = len(answers)
        await asyncio.sleep(0.3)  # a load balancer is not that quick
        assert len(answers) > before
        leaving.set()

    async with serving(tmp_path, SHUTDOWN_DELAY="6") as service:
        async with asyncio.TaskGroup() as group:
            group.create_task(watch(service))
            for _ in range(10):
                group.create_task(keep_asking(service))
            await asyncio.sleep(1)
            service.signal()
        code, output = await service.end()

    assert set(answers) == {200}
    assert (code, "slow has stopped" in output) == (0, True)


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT, signal.SIGTERM]])
async def test_a_request_in_flight_is_answered(tmp_path: Path, numbers: list[int]) -> None:
    """Ctrl-C reaches a worker as SIGINT and, from its parent, as SIGTERM: not a second wish."""
    async with serving(tmp_path) as service:
        request = await service.in_flight()
        for number in numbers:
            service.signal(number)
            await service.until_ready(wanted=False)
        service.release()
        response = await request
        code, output = await service.end()

    assert (response.status_code, response.headers["connection"]) == (200, "close")
    assert (code, "slow has stopped" in output) == (0, True)


async def test_while_leaving_every_answer_closes_its_connection(tmp_path: Path) -> None:
    async with serving(tmp_path, SHUTDOWN_DELAY="20") as service:
        before = await service.slow(0)
        request = await service.in_flight()
        service.signal()
        await service.until_ready(wanted=False)
        after = await service.slow(0)
        service.release()
        begun_before = await request

    assert "connection" not in before.headers
    assert (after.status_code, after.headers["connection"]) == (200, "close")
    assert (begun_before.status_code, begun_before.headers["connection"]) == (200, "close")


async def test_the_same_signal_again_drops_what_is_in_flight(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        request = await service.in_flight()
        service.signal()
        await service.until_ready(wanted=False)
        service.signal()
        code, _ = await service.end()

    assert await is_cut(request)
    assert code == 1


async def test_a_request_without_end_is_cut_within_the_grace(tmp_path: Path) -> None:
    async with serving(tmp_path, SHUTDOWN_GRACE="9") as service:
        request = await service.in_flight()
        service.signal()
        code, output = await service.end()

    assert await is_cut(request)
    assert (code, "slow has stopped" in output) == (0, True)
    assert "Traceback" not in output


async def test_an_open_stream_is_told_to_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client.stream("GET", "/stream") as response:
        parts = response.aiter_bytes()
        assert await anext(parts) == b"begin "
        service.signal()
        assert await anext(parts) == b"end"
        code, _ = await service.end()

    assert code == 0


async def test_a_module_that_never_stops_does_not_hold_the_process(tmp_path: Path) -> None:
    async with serving(tmp_path, SHUTDOWN_GRACE="2", SLOW_SERVICE_MODE="stuck") as service:
        service.signal()
        code, output = await service.end()

    assert (code, "Not ended within SHUTDOWN_GRACE of 2 s" in output) == (1, True)


async def test_a_refusal_to_start_is_said_in_plain_words(tmp_path: Path) -> None:
    async with running(tmp_path, SLOW_SERVICE_MODE="refuse") as service:
        code, output = await service.end()

    assert code == 3
    assert "Set THE_OTHER_THING=1" in output
    assert "Traceback" not in output


async def both_workers(service: Service) -> None:
    """Wait until two processes answer."""
    seen: set[int] = set()
    for _ in range(int(PATIENCE / PAUSE)):
        # A connection stays with the worker that took it.
        async with AsyncClient(base_url=service.client.base_url, timeout=PATIENCE) as client:
            seen.add((await client.get("/slow", params={"seconds": 0})).json())
        if len(seen) == 2:
            return
        await asyncio.sleep(PAUSE)
    pytest.fail("the second worker did not answer in time")


async def test_workers_end_as_one_process_does(tmp_path: Path) -> None:
    async with serving(tmp_path, workers=2) as service:
        await both_workers(service)
        requests = [await service.in_flight() for _ in range(3)]
        service.signal()
        await service.until_ready(wanted=False)
        service.release()
        responses = await asyncio.gather(*requests)
        code, output = await service.end()

    assert {response.status_code for response in responses} == {200}
    assert (code, output.count("slow has stopped")) == (0, 2)


async def test_a_second_signal_reaches_the_workers(tmp_path: Path) -> None:
    async with serving(tmp_path, workers=2) as service:
        request = await service.in_flight()
        service.signal()
        await service.until_ready(wanted=False)
        service.signal()
        await service.end()

    assert await is_cut(request)
