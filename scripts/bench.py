"""`make bench`: set up the environment, then measure. Arguments go to the benchmark."""

from __future__ import annotations

import sys

from scripts import processes
from scripts.check import PAYLOAD
from scripts.console import CommandError, say
from scripts.tools import ROOT, VENV, ensure_environment, ensure_uv


def main() -> int:
    """Run `benchmarks/overhead.py` on the payload; return its exit code."""
    try:
        with processes.in_charge():
            ensure_environment(ensure_uv())
            env = {"PYTHONPATH": str(PAYLOAD / "src")}
            words = ["benchmarks/overhead.py", *sys.argv[1:]]
            code, _ = processes.run([VENV / "bin" / "python", *words], cwd=ROOT, env=env)
            return code
    except CommandError as error:
        say(f"{error}", colour="red")
        return 1
    except processes.StoppedError:
        return 130


if __name__ == "__main__":
    sys.exit(main())
