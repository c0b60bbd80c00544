"""`make bench`: set up the environment, then run the measurements of `benchmarks/`."""

from __future__ import annotations

import argparse
import contextlib
import sys

from scripts import processes
from scripts.check import PAYLOAD
from scripts.console import CommandError, Steps
from scripts.tools import ROOT, VENV, ensure_environment, ensure_uv


def main() -> int:
    """Run the benchmarks named on the command line, or all; return the exit code."""
    known = sorted(path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py"))
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="benchmark", help=f"one of: {', '.join(known)}")
    names = parser.parse_args().names or known
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"no benchmark {', '.join(unknown)}: choose among {', '.join(known)}")
    steps = Steps()
    try:
        with processes.in_charge():
            with steps.step("set up: uv, .venv"):
                ensure_environment(ensure_uv())
            for name in names:
                with contextlib.suppress(CommandError), steps.step(f"measure {name}"):
                    measure(name)
    except CommandError:
        return 1  # its step has said it
    except processes.StoppedError:
        return 130
    return 1 if steps.failed else 0


def measure(name: str) -> None:
    """Run one benchmark against the payload.

    Raises:
        CommandError: it failed.
    """
    argv = [str(VENV / "bin" / "python"), "-m", f"benchmarks.{name}"]
    code, _ = processes.run(argv, cwd=ROOT, env={"PYTHONPATH": str(PAYLOAD / "src")})
    if code != 0:
        message = f"`python -m benchmarks.{name}` exits {code}"
        raise CommandError(message)


if __name__ == "__main__":
    sys.exit(main())
