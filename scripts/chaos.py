"""`make chaos`: kill workers and brokers under load, and count what became of every job.

The long forms of the fault suite, on real servers. Of each drill a balance is printed; the exit
code is 1 if a job was lost, or one with a delay was early or ran twice.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from scripts import kills, processes, servers
from scripts.console import CommandError, Steps, say
from scripts.tools import VENV, ensure_environment, ensure_uv

ENGINES = ("bullmq", "rabbitmq")
OUTAGES = {
    "kill": "servers killed in turns",
    "freeze": "servers that answer nobody, as behind a black hole",
    "due": "jobs due at one instant, servers killed before it",
}
"""What `template/tests/infrastructure/queue/outages.py` can do, and what that is."""


@dataclass(frozen=True)
class Outages:
    """What `outages.py` says at its end."""

    said: Mapping[str, Any]
    """See `Balance` of the payload."""
    is_broken: bool
    """Whether jobs were lost, were early, or ran twice where none may."""

    def __str__(self) -> str:
        """Return one line."""
        said = self.said
        parts = [
            f"acknowledged {said['acknowledged']}, done {said['done']}, lost {said['lost']}",
            f"effects twice {said['twice']}, outages {said['outages']}",
            f"in them CPU {said['cpu']:.1%} and {said['lines']:.1f} lines/s",
        ]
        if said["drill"] == "due":
            parts.append(f"early {said['early']}, the last one after {said['latest']:.1f} s")
        else:
            parts += [
                f"publishes failed {said['failed']} within {said['longest_failure']:.1f} s",
                f"next job within {said['longest_return']:.1f} s",
                f"every worker within {said['longest_idle']:.1f} s",
            ]
        if said["missed"]:
            parts.append(f"not kept: {'; '.join(said['missed'])}")
        return ", ".join(parts)


Balance = kills.Balance | Outages
Run = Callable[[], Balance]


def outages(engine: str, drill: str) -> Outages:
    """Run a drill that has servers of its own.

    Raises:
        CommandError: it did not come to its end.
    """
    argv: list[str | Path] = [VENV / "bin/python", "-m", "tests.infrastructure.queue.outages"]
    argv += ["--engine", engine, "--drill", drill]
    env = {"PYTHONPATH": kills.PYTHONPATH}
    code, lines = processes.run(argv, cwd=kills.PAYLOAD, env=env)
    if not lines or not lines[-1].startswith("{"):
        message = f"the drill broke off with {code}"
        raise CommandError(message)
    return Outages(json.loads(lines[-1]), is_broken=code != 0)


def drills(engine: str, chosen: argparse.Namespace) -> Iterator[tuple[str, Run]]:
    """Yield the chosen drills with their titles; the servers of one run while it has its turn."""
    ends = {name: drill for name, drill in kills.DRILLS.items() if name in chosen.drill}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        urls = {}
        if ends:
            port = stack.enter_context(servers.plain_redis(folder / "redis"))
            urls["REDIS_URL"] = f"redis://127.0.0.1:{port}"
        if ends and engine == "rabbitmq":
            urls["RABBITMQ_URL"] = stack.enter_context(servers.rabbitmq(folder / "rabbitmq"))
        for name, (title, drill) in ends.items():
            env = kills.environment(engine, name, urls, folder / f"ledger-{name}")
            yield title, partial(drill, env, chosen.jobs, chosen.kills)
    for name, title in OUTAGES.items():
        if name in chosen.drill:
            yield title, partial(outages, engine, name)


def main() -> int:
    """Run the drills; return the exit code."""
    known = [*kills.DRILLS, *OUTAGES]
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, help="one engine only")
    parser.add_argument("--drill", choices=known, nargs="+", default=known, help="some drills only")
    parser.add_argument(
        "--jobs", type=int, default=20_000, help="done while workers are killed (20000)"
    )
    parser.add_argument("--kills", type=int, default=100, help="workers killed a drill (100)")
    chosen = parser.parse_args()
    steps, balances = Steps(), dict[str, Balance]()
    try:
        with processes.in_charge():
            with steps.step("set up: uv, .venv"):
                ensure_environment(ensure_uv())
            for engine in [chosen.engine] if chosen.engine else ENGINES:
                for what, run in drills(engine, chosen):
                    title = f"{engine}: {what}"
                    with contextlib.suppress(CommandError), steps.step(title) as outcome:
                        balances[title] = run()
                        outcome.note = str(balances[title])
    except CommandError:
        return 1  # its step has said it
    except processes.StoppedError:
        return 130
    for title, balance in balances.items():
        say(f"{title}: {balance}")
    return 1 if steps.failed or any(balance.is_broken for balance in balances.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
