"""`make demo`: generate a service as a newcomer would, and run it until Ctrl-C.

Only uv is fetched; Copier runs through `uv tool run`, the service gets its own environment, its
database and its Redis are the embedded ones.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from scripts import processes, servers
from scripts.console import CommandError, Steps, say
from scripts.tools import ROOT, ensure_uv, requirement

PRESETS = ("minimal", "standard", "full")
READY_SECONDS = 60.0
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks the service itself, whatever proxy the environment names."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    preset: str
    port: int
    folder: Path | None
    """Where the service is to stay, or None for a scratch folder."""


def parse(argv: Sequence[str] | None) -> Options:
    """Read the command line; an empty value means the default, as `make` passes it on."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--preset", default="", help=f"{', '.join(PRESETS)}; default: standard")
    parser.add_argument("--port", default="", help="default: 8000")
    parser.add_argument("--dir", default="", help="keep the service there; default: scratch folder")
    found = parser.parse_args(argv)
    preset = found.preset or "standard"
    if preset not in PRESETS:
        parser.error(f"no preset {preset!r}: choose PRESET={'|'.join(PRESETS)}")
    port = found.port or "8000"
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        parser.error(f"{port!r} is no port: choose PORT between 1 and 65535")
    folder = Path(found.dir).expanduser().resolve() if found.dir else None
    return Options(preset, int(port), folder)


def refuse_bad(options: Options) -> None:
    """Look before anything is done.

    Raises:
        CommandError: the folder is not empty, or the port is taken.
    """
    folder = options.folder
    if folder and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        message = f"{folder} exists and is not empty: choose another DIR, or empty it first"
        raise CommandError(message)
    if servers.port_answers(options.port):
        message = (
            f"port {options.port} is in use by another program: choose another one, "
            f"such as `make demo PORT={options.port + 1}`"
        )
        raise CommandError(message)


@contextlib.contextmanager
def service_folder(chosen: Path | None) -> Iterator[Path]:
    """Yield the folder for the service; a scratch folder is removed at the end."""
    if chosen:
        yield chosen
        return
    scratch = Path(tempfile.mkdtemp(prefix="plinth-demo-")).resolve()
    try:
        yield scratch / "my-service"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def call(argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a command and show it.

    Raises:
        CommandError: it failed.
    """
    say(f"  $ {' '.join(Path(argv[0]).name if i == 0 else str(w) for i, w in enumerate(argv))}")
    code, _ = processes.run(argv, cwd=cwd, env=env)
    if code != 0:
        message = f"`{Path(argv[0]).name} {argv[1]}` exits {code}: see above"
        raise CommandError(message)


def generate(uv: Path, preset: str, service: Path) -> None:
    """Copy the template with Copier itself, default answers apart from the preset."""
    copier: list[str | Path] = [
        uv,
        "tool",
        "run",
        "--quiet",
        "--from",
        requirement("copier"),
        "copier",
    ]
    # HEAD: what is checked out here, not the newest release.
    words = ["copy", "--quiet", "--defaults", "--vcs-ref=HEAD", "--data", f"preset={preset}"]
    call([*copier, *words, ROOT, service], cwd=ROOT)


def get(url: str) -> tuple[int, str]:
    """Return status and body of a GET, or status 0 while nobody answers."""
    try:
        with DIRECT.open(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def pretty(body: str) -> str:
    """Return JSON indented below the line that announces it."""
    text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    return "\n".join(f"    {line}" for line in text.splitlines())


@contextlib.contextmanager
def served(
    uv: Path, service: Path, port: int, env: Mapping[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the service until the block ends; yield its address and process once it is ready.

    Raises:
        CommandError: it ended or did not become ready in time.
    """
    base = f"http://127.0.0.1:{port}"
    command = ["run", "--no-sync", "app", "serve", "--port", str(port)]
    say(f"  $ uv {' '.join(command)}")
    process = processes.start([uv, *command], cwd=service, env=env)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while get(f"{base}/health/ready")[0] != HTTPStatus.OK:
            if processes.wait(process, 0.1) is not None or time.monotonic() > deadline:
                message = "the service did not become ready: see its log above"
                raise CommandError(message)
        yield base, process
    finally:
        processes.stop(process)


def show(base: str, service: Path) -> None:
    """Print the addresses, then one real request and its answer.

    Raises:
        CommandError: the answer is not 200.
    """
    path = "/users?size=2" if (service / "src/app/modules/users").exists() else "/health"
    names = {"API documentation": "/docs", "health": "/health/ready"}
    if path.startswith("/users"):
        names["users"] = "/users"
    say()
    for name, place in names.items():
        say(f"  {name:<18} {base}{place}", colour="green")
    say()
    for place in ("/health/ready", path):
        status, body = get(f"{base}{place}")
        say(f"  $ curl '{base}{place}'", colour="blue")
        say(f"{pretty(body)}\n    → {status}")
        if status != HTTPStatus.OK:
            message = f"{place} answers {status}"
            raise CommandError(message)


def demonstrate(options: Options, steps: Steps, stack: contextlib.ExitStack) -> None:
    """Generate, install, migrate, seed, start, show; then wait for a signal."""
    with steps.step("look around"):
        refuse_bad(options)
    service = stack.enter_context(service_folder(options.folder))
    # On the way out the service is stopped first, in order; then what is left, before its folder.
    stack.callback(processes.end_all)
    with steps.step("fetch uv"):
        uv = ensure_uv()
    with steps.step(f"generate a service, preset {options.preset}, in {service}"):
        generate(uv, options.preset, service)
    # Not the environment `make` may have been started from.
    env = {"UV_PYTHON": sys.executable, "VIRTUAL_ENV": ""}
    with steps.step("install its dependencies"):
        call([uv, "sync", "--quiet"], cwd=service, env=env)
    if (service / "src/app/infrastructure/database").exists():
        with steps.step("create its tables and fill them"):
            call([uv, "run", "--no-sync", "app", "db", "upgrade"], cwd=service, env=env)
            call([uv, "run", "--no-sync", "app", "db", "seed"], cwd=service, env=env)
    with steps.step("start it and wait until it is ready"):
        base, process = stack.enter_context(served(uv, service, options.port))
    with steps.step("make a request"):
        show(base, service)
    steps.report()
    say(f"\nIt runs in {service}. Ctrl-C stops it.", colour="green")
    code = processes.wait(process)
    message = f"the service ended by itself with exit code {code}: see its log above"
    say(message, colour="red")
    raise CommandError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit code: 0 also when a signal ended it after it was ready."""
    options = parse(argv)
    steps = Steps()
    try:
        with processes.in_charge(), contextlib.ExitStack() as stack:
            demonstrate(options, steps, stack)
    except CommandError:
        return 1  # its step has said it
    except processes.StoppedError as error:
        ready = bool(steps.outcomes) and not steps.failed
        say(f"\nStopped by {error}; everything it started is stopped.", colour="green")
        if options.folder and options.folder.exists():
            say(f"The service stays in {options.folder}: `cd` there and `uv run app dev`.")
        return 0 if ready else 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
