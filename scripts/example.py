"""`make example NAME=…`: generate a system of `examples/`, and run it until Ctrl-C.

An example is `answers.yml`, what Copier is told; `files/`, laid over what it has generated; and
`settings.env`, which becomes the service's `.env`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts import demo, processes, servers
from scripts.console import CommandError, Steps, say
from scripts.tools import ROOT, ensure_uv, requirement

EXAMPLES = ROOT / "examples"
ENGINES = ("rabbitmq", "bullmq")
BROKER = "RABBITMQ_URL"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    name: str
    engine: str
    port: int
    folder: Path | None
    """Where the service is to stay, or None for a scratch folder."""


def names() -> list[str]:
    """Return the examples there are."""
    return sorted(path.parent.name for path in EXAMPLES.glob("*/answers.yml"))


def parse(argv: Sequence[str] | None) -> Options:
    """Read the command line; an empty value means the default, as `make` passes it on."""
    parser = argparse.ArgumentParser(prog="make example", description=__doc__)
    parser.add_argument("--name", default="", help=f"one of: {', '.join(names())}")
    parser.add_argument("--engine", default="", help=f"{', '.join(ENGINES)}; default: rabbitmq")
    parser.add_argument("--port", default="", help="default: 8080")
    parser.add_argument("--dir", default="", help="keep the service there; default: scratch folder")
    found = parser.parse_args(argv)
    name, engine, port = found.name or names()[0], found.engine or ENGINES[0], found.port or "8080"
    if name not in names():
        parser.error(f"no example {name!r}: choose NAME={'|'.join(names())}")
    if engine not in ENGINES:
        parser.error(f"no engine {engine!r}: choose ENGINE={'|'.join(ENGINES)}")
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        parser.error(f"{port!r} is no port: choose PORT between 1 and 65535")
    folder = Path(found.dir).expanduser().resolve() if found.dir else None
    return Options(name, engine, int(port), folder)


def lay_over(name: str, service: Path) -> None:
    """Put an example's own files into a service that was generated with its answers."""
    example = EXAMPLES / name
    shutil.copytree(
        example / "files",
        service,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copy2(example / "settings.env", service / ".env")


def generate(uv: Path, name: str, service: Path) -> None:
    """Let Copier write the service, then lay the example's files over it."""
    copier: list[str | Path] = [
        uv,
        "tool",
        "run",
        "--quiet",
        "--from",
        requirement("copier"),
        "copier",
    ]
    words = ["copy", "--quiet", "--defaults", "--vcs-ref=HEAD"]
    answers = EXAMPLES / name / "answers.yml"
    demo.call([*copier, *words, "--data-file", answers, ROOT, service], cwd=ROOT)
    lay_over(name, service)


def broker(options: Options, scratch: Path, stack: contextlib.ExitStack) -> dict[str, str]:
    """Return the settings of the jobs' broker; one is started where none is named.

    Raises:
        CommandError: RabbitMQ can't be started; says how to get it, and how to do without.
    """
    chosen = {"QUEUE_ENGINE": options.engine}
    if options.engine != "rabbitmq":
        return chosen
    if url := os.environ.get(BROKER):
        say(f"  RabbitMQ is the one {BROKER} names")
        return {**chosen, BROKER: url}
    try:
        url = stack.enter_context(servers.rabbitmq(scratch / "rabbitmq"))
    except CommandError as error:
        message = f"{error}; or name one in {BROKER}; or choose ENGINE=bullmq, which needs none"
        raise CommandError(message) from error
    return {**chosen, BROKER: url}


def show(base: str, service: Path) -> None:
    """Say what to try, and where to look."""
    say("\n  Try it, in another terminal:\n", colour="green")
    for line in (
        f"curl {base}/example",
        f"curl -X POST {base}/example",
        f"curl {base}/example                   # renamed, by the worker",
        f"cat {service}/var/mail/*.eml          # the mail it wrote",
        f"curl -u swagger:swagger {base}/docs   # without -u: 401",
    ):
        say(f"    {line}", colour="blue")


def run(options: Options, steps: Steps, stack: contextlib.ExitStack) -> None:
    """Generate, install, migrate, seed, start API and worker; then wait for a signal."""
    with steps.step("look around"):
        demo.refuse_bad(demo.Options("", options.port, options.folder))
    service = stack.enter_context(demo.service_folder(options.folder))
    stack.callback(processes.end_all)
    with steps.step("fetch uv"):
        uv = ensure_uv()
    with steps.step(f"generate {options.name} in {service}"):
        generate(uv, options.name, service)
    env = {"UV_PYTHON": sys.executable, "VIRTUAL_ENV": ""}
    with steps.step("install its dependencies"):
        demo.call([uv, "sync", "--quiet"], cwd=service, env=env)
    with steps.step(f"have a broker for its jobs: {options.engine}"):
        env |= broker(options, stack.enter_context(demo.service_folder(None)).parent, stack)
    with steps.step("create its tables and fill them"):
        for word in ("upgrade", "seed"):
            demo.call([uv, "run", "--no-sync", "app", "db", word], cwd=service, env=env)
    with steps.step("start the worker, and the API until it is ready"):
        worker = processes.start([uv, "run", "--no-sync", "app", "worker"], cwd=service, env=env)
        stack.callback(processes.stop, worker)
        base, process = stack.enter_context(demo.served(uv, service, options.port, env))
    show(base, service)
    steps.report()
    say(f"\nIt runs in {service}. Ctrl-C stops it.", colour="green")
    code = processes.wait(process)
    message = f"the service ended by itself with exit code {code}: see its log above"
    raise CommandError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example; return the exit code: 0 also when a signal ended it after it was ready."""
    options = parse(argv)
    steps = Steps()
    try:
        with processes.in_charge(), contextlib.ExitStack() as stack:
            run(options, steps, stack)
    except CommandError as error:
        say(str(error), colour="red")
        return 1
    except processes.StoppedError as error:
        ready = bool(steps.outcomes) and not steps.failed
        say(f"\nStopped by {error}; everything it started is stopped.", colour="green")
        return 0 if ready else 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
