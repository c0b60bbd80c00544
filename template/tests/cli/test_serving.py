"""`app serve` and `app dev`, as real processes with real signals."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import Run, environment
from tests.ports import free_port

pytestmark = pytest.mark.slow
PATIENCE = 60.0


@contextlib.contextmanager
def running(folder: Path, *words: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Run the service in a folder of its own; end its whole group at last."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app", *words],
        cwd=folder,
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_until_ready(port: int, process: subprocess.Popen[str]) -> httpx2.Response:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(httpx2.TransportError):
            answer = httpx2.get(f"http://127.0.0.1:{port}/health/ready")
            if answer.status_code == 200:
                return answer
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "not ready in time"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_ends_with_0(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    with running(tmp_path, "serve", "--port", str(port)) as process:
        wait_until_ready(port, process)
        process.send_signal(number)
        output, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, output
    assert f"http://127.0.0.1:{port}" in output
    assert "Traceback" not in output


def test_no_request_fails_while_it_ends(tmp_path: Path) -> None:
    """Not ready first, serving on for a moment, then the end."""
    port = free_port()
    with running(tmp_path, "serve", "--port", str(port), SHUTDOWN_DELAY="1") as process:
        wait_until_ready(port, process)
        statuses: list[tuple[int, int]] = []
        signalled = time.monotonic()
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(httpx2.TransportError):
            while True:
                live = httpx2.get(f"http://127.0.0.1:{port}/health/live").status_code
                ready = httpx2.get(f"http://127.0.0.1:{port}/health/ready").status_code
                statuses.append((live, ready))
        refused_after = time.monotonic() - signalled
        process.communicate(timeout=PATIENCE)

    assert process.returncode == 0
    # Nobody was refused before the delay was over: a load balancer had that long to notice.
    assert refused_after >= 1
    assert all(status == (200, 503) for status in statuses[1:])


def test_two_services_of_one_project_run_side_by_side(tmp_path: Path) -> None:
    """They share the embedded server; the first to go leaves it to the other."""
    ports = free_port(), free_port()
    with (
        running(tmp_path, "serve", "--port", str(ports[0])) as first,
        running(tmp_path, "serve", "--port", str(ports[1])) as second,
    ):
        wait_until_ready(ports[0], first)
        wait_until_ready(ports[1], second)
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=PATIENCE)
        time.sleep(1)

        assert wait_until_ready(ports[1], second).status_code == 200
        second.send_signal(signal.SIGTERM)
        second.communicate(timeout=PATIENCE)
    assert (first.returncode, second.returncode) == (0, 0)


def test_a_port_in_use_is_named_with_the_way_out(command: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        done = command("serve", "--port", str(port))

    assert done.returncode == 1
    assert f"Port {port} is in use" in done.stderr
    assert f"--port {port + 1}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["staging", "production"])
def test_a_deployed_service_with_weak_settings_does_not_start(command: Run, name: str) -> None:
    done = command("serve", "--port", str(free_port()), APP_ENV=name)

    assert done.returncode == 1
    assert "Refused to start" in done.stderr
    assert "DOCS_ENABLED=false" in done.stderr
    assert "Traceback" not in done.stderr


def test_development_is_prepared_and_reloads(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, "dev", "--port", str(port)) as process:
        wait_until_ready(port, process)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, output
    assert "Started reloader process" in output


def test_dev_is_not_for_production(command: Run) -> None:
    done = command("dev", APP_ENV="production")

    assert done.returncode == 1
    assert "app serve" in done.stderr
