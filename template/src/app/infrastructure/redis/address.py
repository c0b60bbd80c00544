"""Read `REDIS_URL`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379
MAX_PORT = 65535
HOST = re.compile(r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:]+))(?::(?P<port>[0-9]{1,5}))?")
MAX_DATABASE = 65535
"""Servers have 16 unless they are told otherwise; more digits are a slip."""


class Mode(StrEnum):
    """What kind of server answers."""

    EMBEDDED = "embedded"
    """A private Valkey, started by the service."""
    SINGLE = "single"
    UNIX = "unix"
    """A socket file on this machine."""
    SENTINEL = "sentinel"
    """A primary that Sentinels name."""
    CLUSTER = "cluster"


SCHEMES = {
    "embedded": (Mode.EMBEDDED, False),
    "redis": (Mode.SINGLE, False),
    "rediss": (Mode.SINGLE, True),
    "unix": (Mode.UNIX, False),
    "redis+sentinel": (Mode.SENTINEL, False),
    "rediss+sentinel": (Mode.SENTINEL, True),
    "redis+cluster": (Mode.CLUSTER, False),
    "rediss+cluster": (Mode.CLUSTER, True),
}
"""Accepted schemes: the kind of server, and whether TLS is used."""


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed `REDIS_URL`."""

    mode: Mode
    tls: bool = False
    hosts: tuple[tuple[str, int], ...] = ()
    username: str | None = None
    password: str | None = None
    database: int = 0
    service: str = ""
    """Name of the primary, for Sentinel."""
    path: str = ""
    """Socket file, for `unix`."""

    def __repr__(self) -> str:
        """Return it without the password."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts) or self.path
        return f"{self.mode}:{hosts}/{self.database}"


def parse_address(text: str, username: str | None = None, password: str | None = None) -> Address:
    """Parse a URL; `username` and `password` fill in what it leaves out.

    Raises:
        ValueError: says what is wrong, without repeating the URL: it may hold a password.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        message = f"REDIS_URL must start with one of {known}"
        raise ValueError(message)
    if set(rest) & set("?#") or any(character.isspace() for character in rest):
        message = (
            "REDIS_URL takes no options after ? or #, and no spaces: the other REDIS_ settings are "
            "for that, and special characters of a password are percent-encoded"
        )
        raise ValueError(message)
    mode, tls = SCHEMES[scheme]
    if mode is Mode.EMBEDDED:
        if rest.strip("/"):
            message = "REDIS_URL=embedded:// takes nothing more: REDIS_EMBEDDED_DIR says where"
            raise ValueError(message)
        return Address(mode)
    credentials, _, place = rest.rpartition("@")
    user, _, secret = credentials.partition(":")
    username = unquote(user) or username
    password = unquote(secret) or password
    if mode is Mode.UNIX:
        if not place.startswith("/"):
            message = "REDIS_URL=unix:// needs an absolute path: unix:///run/redis.sock"
            raise ValueError(message)
        return Address(mode, username=username, password=password, path=place)
    hosts, *path = place.split("/")
    service, number = _read_path(mode, [part for part in path if part])
    default = DEFAULT_SENTINEL_PORT if mode is Mode.SENTINEL else DEFAULT_PORT
    return Address(
        mode=mode,
        tls=tls,
        hosts=tuple(_read_host(part, default) for part in hosts.split(",")),
        username=username,
        password=password,
        database=number,
        service=service,
    )


def _read_host(text: str, default_port: int) -> tuple[str, int]:
    found = HOST.fullmatch(text)
    number = (found and found["port"]) or str(default_port)
    if not found or not 0 < int(number) <= MAX_PORT:
        message = "REDIS_URL needs host:port, several separated by commas"
        raise ValueError(message)
    return found["ipv6"] or found["name"], int(number)


def _read_path(mode: Mode, path: list[str]) -> tuple[str, int]:
    """Return the Sentinel service and the database number."""
    service = ""
    if mode is Mode.SENTINEL:
        if not path:
            message = "REDIS_URL needs the service's name: redis+sentinel://host:26379/mymaster/0"
            raise ValueError(message)
        service, *path = path
    number = path[0] if path else "0"
    if len(path) > 1 or not re.fullmatch("[0-9]{1,5}", number) or int(number) > MAX_DATABASE:
        message = "REDIS_URL ends with the number of the database: redis://host:6379/0"
        raise ValueError(message)
    if mode is Mode.CLUSTER and int(number):
        message = "REDIS_URL: a cluster has the database 0 only"
        raise ValueError(message)
    return service, int(number)
