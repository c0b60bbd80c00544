"""The client's address, as far as trusted proxies vouch for it."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_PORT = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[\d.]+))(?::\d{1,5})?")
"""`[2001:db8::1]:80` and `192.0.2.1:80`; some proxies write the port too."""


class ClientAddress:
    """Reads `X-Forwarded-For` from right to left, as far as the senders are trusted.

    Each proxy appends whom it got the request from. The rightmost address that is no trusted proxy
    is the client; everything to its left the client may have made up.
    """

    def __init__(self, trusted: tuple[IPv4Network | IPv6Network, ...]) -> None:
        """Trust the proxies of these networks."""
        self._networks = trusted
        self._is_trusted = lru_cache(maxsize=1024)(self._look_up)

    def resolve(self, peer: str, forwarded: str | None) -> str:
        """Return the client's address.

        Args:
            peer: who has connected to us.
            forwarded: the `X-Forwarded-For` header, several joined by commas.
        """
        if not forwarded or not self._networks:
            return peer
        address = peer
        for hop in reversed(forwarded.split(",")):
            if not self._is_trusted(address):
                return address
            candidate = _parse(hop.strip())
            if candidate is None:
                return address
            address = str(candidate)
        return address

    def _look_up(self, text: str) -> bool:
        address = _parse(text)
        return address is not None and any(address in network for network in self._networks)


@lru_cache(maxsize=1024)
def _parse(text: str) -> IPv4Address | IPv6Address | None:
    if match := _PORT.fullmatch(text):
        text = match["six"] or match["four"]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket that listens on both families shows IPv4 peers as ::ffff:192.0.2.1 (RFC 4291).
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
