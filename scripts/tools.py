"""Fetch uv and fill the environment: all a bare machine with Python 3.11 or newer lacks."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scripts import processes
from scripts.console import CommandError, say

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
CACHE = ROOT / ".cache"
REQUIREMENTS = sorted((ROOT / "includes" / "requirements").glob("*.txt"))
PINS = [ROOT / "includes" / "pins" / path.name for path in REQUIREMENTS]
UV_FLOOR = (0, 8, 0)
"""The oldest uv that is used when it is already here."""
UV = f"uv>={'.'.join(map(str, UV_FLOOR))},<1"


def _text(argv: Sequence[str | Path]) -> str | None:
    """Return what a command prints, or None when it fails."""
    try:
        done = subprocess.run(
            [str(part) for part in argv], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _is_usable_uv(uv: Path) -> bool:
    found = re.match(r"uv (\d+)\.(\d+)\.(\d+)", _text([uv, "--version"]) or "")
    return found is not None and tuple(map(int, found.groups())) >= UV_FLOOR


def find_uv() -> Path | None:
    """Return a uv that is already here: ours, on the PATH, or where its installer puts it."""
    on_path = shutil.which("uv")
    places = [
        CACHE / "uv" / "bin" / "uv",
        *([Path(on_path)] if on_path else []),
        Path.home() / ".local" / "bin" / "uv",
    ]
    return next((place for place in places if _is_usable_uv(place)), None)


def ensure_uv() -> Path:
    """Return uv, fetched with whatever this Python has if it is not here.

    Raises:
        CommandError: neither pip nor venv works; says what to install.
    """
    ways: tuple[Callable[[Path], None], ...] = (_with_pip, _with_venv, _with_debian)
    for fetch in (lambda _: None, *ways):
        fetch(CACHE / "uv")
        if uv := find_uv():
            return uv
    message = (
        f"uv can't be fetched: {sys.executable} has neither pip nor venv that reach PyPI "
        "(messages above). On Debian or Ubuntu run `sudo apt-get install python3-venv`; or install "
        "uv yourself (docs.astral.sh/uv) and put it on the PATH. Then run this again"
    )
    raise CommandError(message)


def _attempt(*argv: str | Path) -> bool:
    """Run a command; tell whether it worked. Its messages show only when it did not."""
    done = subprocess.run(
        [str(part) for part in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = done.stdout.strip().splitlines()[-1:] or ["no message"]
        say(f"  {Path(argv[0]).name} {' '.join(map(str, argv[1:4]))}…: {last[0]}", colour="dim")
    return done.returncode == 0


def _with_pip(folder: Path) -> None:
    """`--target` leaves the system's packages alone, so PEP 668 does not forbid it."""
    _attempt(sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, UV)


def _with_venv(folder: Path) -> None:
    if _attempt(sys.executable, "-m", "venv", "--clear", folder):
        _attempt(folder / "bin" / "python", "-m", "pip", "install", "--quiet", UV)


def _with_debian(folder: Path) -> None:
    """Debian splits venv off its python3; root may put it back."""
    if install_debian("python3-venv"):
        _with_venv(folder)


def install_debian(package: str) -> bool:
    """Install a Debian package if we may; tell whether it worked."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    say(f"  installing Debian's {package}", colour="dim")
    fetch = ("apt-get", "install", "-y", "-q", "--no-install-recommends", package)
    return _attempt(*fetch) or (_attempt("apt-get", "update", "-q") and _attempt(*fetch))


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Hold a lock between processes: `make demo` and `make test` may start together."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fingerprint() -> str:
    """Return a digest of everything that decides what the environment holds."""
    parts = [f"{sys.version_info[:2]} {ROOT}".encode()]
    parts += [path.read_bytes() for path in (ROOT / "pyproject.toml", *REQUIREMENTS, *PINS)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def requirement(name: str) -> str:
    """Return what `pyproject.toml` requires of one development tool, such as `copier>=9,<10`."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        lines: list[str] = tomllib.load(file)["dependency-groups"]["dev"]
    return next(line for line in lines if re.split(r"[<>=\[]", line)[0] == name)


def ensure_environment(uv: Path) -> bool:
    """Bring `.venv` to what `pyproject.toml` and the pins say. Tell whether anything was done.

    Raises:
        CommandError: the packages can't be installed.
    """
    with _alone("environment"):
        stamp = VENV / "plinth-stamp"
        python = VENV / "bin" / "python"
        wanted = _fingerprint()
        works = _text([python, "-c", ""]) is not None
        if works and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            return False
        stamp.unlink(missing_ok=True)
        if not works:
            _uv(uv, "venv", "--quiet", "--clear", "--python", sys.executable, VENV)
        what = [word for path in REQUIREMENTS for word in ("--requirements", path)]
        what += [word for path in PINS for word in ("--constraints", path)]
        say(f"  installing into {VENV.name}; the first time downloads some 150 MB", colour="dim")
        _uv(uv, "pip", "install", "--quiet", "--python", python, "--exact", "--group", "dev", *what)
        stamp.write_text(wanted, encoding="utf-8")
        return True


def _uv(uv: Path, *words: str | Path) -> None:
    code, _ = processes.run([uv, *words], cwd=ROOT)
    if code != 0:
        message = f"`uv {words[0]}` failed: see above"
        raise CommandError(message)
