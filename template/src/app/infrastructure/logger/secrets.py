"""Learn the secrets of this process, so that they are masked wherever they turn up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from pydantic import SecretBytes, SecretStr

from app.core.settings import SettingsBundle
from app.infrastructure.logger.redaction import known

SHORTEST_SECRET = 6
"""Characters; masking shorter values wherever they occur would garble the log."""
_URL = re.compile(r"://[^\s/@:]*:(\S+)@")


def register_secret(value: str) -> None:
    """Mask this value from now on, also percent-encoded and with escapes, as errors quote it.

    Of a URL only the password is secret. Values below 6 characters are left alone.
    """
    parts = _URL.findall(value) if "://" in value else [value]
    plain = {form for part in parts for form in (part, unquote(part))}
    forms = {form for part in plain for form in _forms(part)}
    known.add(frozenset(form for form in forms if len(form) >= SHORTEST_SECRET))


def register_settings(settings: SettingsBundle) -> None:
    """Register every secret the settings hold."""
    for module_settings in settings:
        for value in _secrets(module_settings.__dict__):
            register_secret(value)


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, SecretBytes):
        yield value.get_secret_value().decode("utf-8", "replace")
    elif isinstance(value, Mapping):
        yield from _secrets(list(value.values()))
    elif isinstance(value, (list, tuple, set, frozenset)):
        # Not anything iterable: an IP network of TRUSTED_PROXIES yields millions of addresses.
        for item in value:
            yield from _secrets(item)
