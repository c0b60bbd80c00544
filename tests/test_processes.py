"""What `make` starts, it finds again and ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rendering import ROOT
from tests.running import running

DAEMON = "import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True)"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
def test_daemon_is_found_when_its_parent_is_gone() -> None:
    code = f"""
from pathlib import Path
from scripts import processes
with processes.in_charge():
    processes.run(["python3", "-c", {DAEMON!r}], cwd=Path())
    print(list(processes.descendants().values()))
print(processes.descendants())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["['sleep 60']", "{}"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_unwinds_and_a_second_one_does_not_disturb(
    how: signal.Signals, tmp_path: Path
) -> None:
    code = """
import time
from pathlib import Path
from scripts import processes
try:
    with processes.in_charge():
        try:
            print("started", flush=True)
            processes.run(["sleep", "60"], cwd=Path())
        finally:
            print("unwinding", flush=True)
            time.sleep(1)
except processes.StoppedError as error:
    print(f"stopped by {error}, left {processes.descendants()}")
"""
    argv = [sys.executable, "-c", code]
    env = {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    with running(argv, ROOT, env, tmp_path / "log") as command:
        command.wait_until(lambda: "started" in command.printed())
        command.process.send_signal(how)
        command.wait_until(lambda: "unwinding" in command.printed())
        assert command.stop(how) == 0
    assert f"stopped by {how.name}, left {{}}" in command.printed()
