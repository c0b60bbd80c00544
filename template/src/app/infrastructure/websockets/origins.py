"""Which pages may connect."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from app.infrastructure.websockets.settings import ANY_ORIGIN

PORTS = {"http": 80, "https": 443}


def is_allowed(origin: str | None, host: str, origins: Collection[str]) -> bool:
    """Tell whether a handshake is none of a foreign page (cross-site WebSocket hijacking).

    Args:
        origin: the header, None: no browser has sent it, so it carries nobody else's cookies.
        host: the header `Host`.
        origins: allowed besides the service's own.
    """
    if origin is None or ANY_ORIGIN in origins or origin in origins:
        return True
    try:
        page = urlsplit(origin)
    except ValueError:  # such as http://[
        return False
    if page.scheme not in PORTS or not page.netloc:
        return False  # "null": a sandbox, a file
    # The scheme may have been changed by a proxy that ends TLS; the name and port may not.
    usual = f":{PORTS[page.scheme]}"
    return page.netloc.lower() == host.lower().removesuffix(usual)
