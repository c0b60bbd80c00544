"""Which addresses are one client."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

UNKNOWN = "unknown"
"""Clients of a Unix socket have no address."""


@lru_cache(maxsize=4096)
def group(address: str | None, prefix: int) -> str:
    """Return what requests of a client are counted under.

    A site gets at least a /64 of IPv6 (RFC 6177), and may use each of its 2^64 addresses.

    Args:
        address: IPv4, IPv6, or what else the server calls its peer.
        prefix: bits of an IPv6 address that are the client's.
    """
    if not address:
        return UNKNOWN
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((parsed, prefix), strict=False))
