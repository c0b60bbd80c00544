"""`make demo` as a newcomer starts it, and all the ways it can end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from scripts.servers import free_port, port_answers
from tests.rendering import ROOT, service_environment
from tests.running import STOP_SECONDS, Running, running


def demo(*arguments: str, tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command, and an environment whose temporary files are in this test's folder."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    return ["make", "-C", str(ROOT), "demo", *arguments], service_environment(TMPDIR=str(scratch))


def refusal(*arguments: str, tmp_path: Path) -> str:
    """Return what a demo that must not start prints."""
    argv, env = demo(*arguments, tmp_path=tmp_path)
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "generate a service" not in done.stdout
    return done.stdout + done.stderr


def shown(found: Running) -> bool:
    return "Ctrl-C stops it" in found.printed()


@pytest.mark.parametrize(
    ("preset", "how", "told"),
    [("full", signal.SIGINT, "group"), ("minimal", signal.SIGTERM, "make")],
)
def test_it_serves_until_a_signal_and_cleans_up(
    preset: str, how: signal.Signals, told: str, tmp_path: Path
) -> None:
    """A terminal sends Ctrl-C to the whole group; a supervisor sends SIGTERM to make alone."""
    port = free_port()
    argv, env = demo(f"PRESET={preset}", f"PORT={port}", tmp_path=tmp_path)
    with running(argv, tmp_path, env, tmp_path / "demo.log") as make:
        make.wait_until(lambda: shown(make))
        assert f"http://127.0.0.1:{port}/docs" in make.printed()
        assert "→ 200" in make.printed()
        if preset == "full":
            ready = make.printed().partition("/health/ready'")[2]
            assert re.search(r'"database"[^}]*"up"', ready), ready
            assert re.search(r'"redis"[^}]*"up"', ready), ready
        if told == "group":
            os.killpg(make.process.pid, how)
            make.process.wait(STOP_SECONDS)
        else:
            make.stop(how)
    assert "everything it started is stopped" in make.printed()
    assert not port_answers(port)
    # uv keeps files it locks in there; they are its own, and empty.
    left = [path for path in (tmp_path / "tmp").iterdir() if not path.match("uv-*.lock")]
    assert left == []


def test_the_chosen_folder_stays(tmp_path: Path) -> None:
    port, service = free_port(), tmp_path / "svc"
    argv, env = demo("PRESET=minimal", f"PORT={port}", f"DIR={service}", tmp_path=tmp_path)
    with running(argv, tmp_path, env, tmp_path / "demo.log") as make:
        make.wait_until(lambda: shown(make))
        make.stop()
    assert (service / "src/app/api").exists()


def test_folder_in_use_is_refused(tmp_path: Path) -> None:
    service = tmp_path / "svc"
    service.mkdir()
    (service / "mine.txt").touch()
    assert "exists and is not empty" in refusal(f"DIR={service}", tmp_path=tmp_path)
    assert [path.name for path in service.iterdir()] == ["mine.txt"]


def test_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refusal(f"PORT={port}", tmp_path=tmp_path)
    assert f"port {port} is in use" in told
    assert f"make demo PORT={port + 1}" in told


@pytest.mark.parametrize("argument", ["PRESET=huge", "PORT=http", "PORT=0", "PORT=70000"])
def test_value_without_meaning_is_refused(argument: str, tmp_path: Path) -> None:
    name, _, value = argument.partition("=")
    told = refusal(argument, tmp_path=tmp_path)
    assert repr(value) in told
    assert f"choose {name}" in told
