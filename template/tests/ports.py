"""Ports for the servers of tests."""

from __future__ import annotations

import itertools
import secrets
import socket
from contextlib import suppress

CLIENTS_BEGIN = 32_768
"""The first port of clients on Linux; elsewhere they begin later."""
SPAN = 10_000
_places = itertools.count(secrets.randbelow(SPAN))


def free_port() -> int:
    """Return a port nobody listens on, below those the system gives to clients.

    It stays free until a server takes it, which may be a minute later: each process begins
    elsewhere and gives none twice. One of the system's own choice would be given to whoever asks
    next; and a client that tries again and again to reach a server that is away would be given the
    server's own port one day: it would be connected to itself, and the server could not start.
    """
    while True:
        port = CLIENTS_BEGIN - 1 - next(_places) % SPAN
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
