"""A RabbitMQ node of one's own: private ports, its data in a folder, and it may be mistreated.

`python node.py FOLDER` runs one until it is interrupted, after it has printed its URL.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

DEBIAN = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The program itself: what lies on the path there insists on an account of its own."""
CHOSEN = "TEST_RABBITMQ_SERVER"
"""Variable that names another program: for another version of RabbitMQ."""
START_SECONDS = 60.0
GOODBYE_SECONDS = 10.0
CLIENTS_BEGIN = 32_768
"""The first port of clients on Linux; elsewhere they begin later."""
NONE_HERE = "no RabbitMQ here: `apt-get install rabbitmq-server` or `brew install rabbitmq`"


def program() -> Path | None:
    """Return what starts a node, None if it is not installed."""
    if chosen := os.environ.get(CHOSEN):
        return Path(chosen)
    if DEBIAN.exists():
        return DEBIAN
    found = shutil.which("rabbitmq-server")
    return Path(found) if found else None


def free_port() -> int:
    """Return a port nobody listens on at this moment, below those the system gives to clients.

    One that tries again and again to reach a server that is away would be given the server's own
    port one day: it would be connected to itself, and the server could not start again.
    """
    while True:
        port = CLIENTS_BEGIN - 1 - secrets.randbelow(10_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Node:
    """A node. It keeps what it has confirmed, over `kill` and `start`."""

    def __init__(self, folder: Path, fellow: Node | None = None) -> None:
        """Prepare a folder; nothing runs yet. `fellow`: a node it can be in a cluster with."""
        self._folder = folder
        self.port, self._distribution = free_port(), free_port()
        self._names: int = fellow._names if fellow else free_port()
        self._cookie: str = fellow._cookie if fellow else secrets.token_hex(16)
        self.name = f"node-{secrets.token_hex(4)}@localhost"
        self._password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"listeners.tcp.1 = 127.0.0.1:{self.port}",
            "default_user = test",
            f"default_pass = {self._password}",
            "disk_free_limit.absolute = 50MB",
            "log.console = true",
            "log.file = false",
        ]
        (folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "plugins").write_text("[].\n", encoding="utf-8")
        cookie = folder / ".erlang.cookie"
        cookie.write_text(self._cookie, encoding="ascii")
        cookie.chmod(0o400)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"amqp://test:{self._password}@127.0.0.1:{self.port}/"

    def _environment(self) -> dict[str, str]:
        folder = str(self._folder)
        own = {
            "HOME": folder,  # the cookie lies there
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/none",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                # Of the loopback interface only, and no busy waiting on a machine that is shared.
                "-kernel inet_dist_use_interface {127,0,0,1}"
                " +sbwt none +sbwtdcpu none +sbwtdio none"
            ),
            "ERL_EPMD_PORT": str(self._names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        foreign = ("RABBITMQ_", "ERL_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {**kept, **own}

    def start(self) -> None:
        """Start it and wait until it takes connections.

        Raises:
            RuntimeError: it is not installed, ended, or took too long; with the end of its log.
        """
        found = program()
        if found is None:
            raise RuntimeError(NONE_HERE)
        log = self._folder / "console.log"
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                [found],
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while "startup complete" not in log.read_text(errors="replace"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                message = f"RabbitMQ did not start:\n{tail}"
                raise RuntimeError(message)
            time.sleep(0.05)

    def freeze(self) -> None:
        """Let it answer nobody, with all connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo `freeze`."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash does."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def join(self, other: Node) -> None:
        """Become part of another node's cluster, with that one's accounts; loses what it had."""
        self.control("stop_app")
        self.control("reset")
        self.control("join_cluster", other.name)
        self.control("start_app")
        self._password = other._password

    def leader(self, queue: str) -> str:
        """Return the name of the node that has the leader of a quorum queue."""
        lines = self.control("list_queues", "--silent", "name", "leader").splitlines()
        return dict(line.split("\t") for line in lines)[queue]

    def control(self, *words: str) -> str:
        """Run `rabbitmqctl`; return what it prints.

        Raises:
            subprocess.CalledProcessError: it fails.
        """
        found = program()
        command = [str(found.with_name("rabbitmqctl")) if found else "", "--node", self.name]
        done = subprocess.run(
            [*command, *words],
            cwd=self._folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def stop(self) -> None:
        """End it in order, and what it has started."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GOODBYE_SECONDS)
            self.kill()
        if epmd := shutil.which("epmd"):
            words = [epmd, "-port", str(self._names), "-kill"]
            subprocess.run(words, capture_output=True, check=False)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


def main() -> None:
    """Run a node in the folder the command line names."""
    node = Node(Path(sys.argv[1]))
    ending: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _frame: ending.append(got))
    try:
        node.start()
        print(node.url, flush=True)  # noqa: T201 - that is what it is for
        while not ending and node._process is not None and node._process.poll() is None:
            time.sleep(0.1)
    finally:
        node.stop()


if __name__ == "__main__":
    main()
