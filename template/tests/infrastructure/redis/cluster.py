"""Three nodes of Redis Cluster, for tests of what runs on one."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from app.infrastructure.redis.embedded import binary
from tests.ports import free_port

NODES = 3
SLOTS = 16_384
PATIENCE = 60.0


def _ask(node: Any, *words: str | int) -> Any:
    return node.execute_command(*words)


def _is_whole(node: Redis) -> bool:
    said = str(_ask(node, "CLUSTER", "INFO"))
    return "cluster_state:ok" in said and f"cluster_known_nodes:{NODES}" in said


def running_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Three nodes with a third of the slots each; their URL."""
    processes: list[subprocess.Popen[bytes]] = []
    nodes: list[Redis] = []
    ports = [(free_port(), free_port()) for _ in range(NODES)]
    try:
        for port, bus in ports:
            folder: Path = tmp_path_factory.mktemp("node")
            words = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
            words += ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--save", ""]
            processes.append(subprocess.Popen([binary(), *words], stdout=subprocess.DEVNULL))
            nodes.append(Redis(port=port))
        deadline = time.monotonic() + PATIENCE
        for number, node in enumerate(nodes):
            _until_up(node, deadline)
            first, last = (SLOTS * place // NODES for place in (number, number + 1))
            _ask(node, "CLUSTER", "ADDSLOTSRANGE", first, last - 1)
            if number:
                _ask(node, "CLUSTER", "MEET", "127.0.0.1", *ports[0])
        while not all(map(_is_whole, nodes)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"redis+cluster://127.0.0.1:{ports[0][0]}"
    finally:
        for node in nodes:
            node.close()
        for process in processes:
            process.kill()
            process.wait()


def _until_up(node: Redis, deadline: float) -> None:
    while True:
        try:
            node.ping()
        except (OSError, RedisConnectionError):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return
