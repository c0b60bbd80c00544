"""Settings of the file storage."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from app.core.errors import ConfigurationError
from app.core.settings import Bytes, ModuleSettings, Seconds, Weakness

FOLDER = Path(__file__).parent
DRIVERS = sorted(
    (folder.parent.name for folder in FOLDER.glob("*/driver.py")), key=lambda n: (n != "local", n)
)
"""The drivers this service has: each is a folder here. The local one is the default."""
if not DRIVERS:
    _MESSAGE = f"there is no driver in {FOLDER}: generate one, or delete the folder of the storage"
    raise ConfigurationError(_MESSAGE)
SHORTEST_SECRET = 32
"""Characters of a key: as many as SHA-256 has bytes (RFC 2104 §3)."""
DEVELOPMENT_SECRET = "development only: anybody can sign with this"  # noqa: S105 - refused when deployed


class StorageSettings(ModuleSettings):
    """Where files are kept, how large they may be, and who believes a signed URL."""

    file_storage_driver: str = Field(default=DRIVERS[0], pattern=f"^({'|'.join(DRIVERS)})$")
    """Where files are kept: one of the folders this service has under infrastructure/storage."""
    file_storage_max_size: Bytes = Field(default=100 * 1024 * 1024, ge=1)
    """Largest file; whoever puts one may ask for less. A cloud takes 80 GiB in our 8 MiB parts."""
    file_storage_timeout: Seconds = Field(default=30.0, gt=0)
    """How long a cloud may stay silent, and how long a failing request to it is repeated."""
    file_storage_url: str = ""
    """Address of this service in the signed URLs it serves itself, https://api.example.com; empty:
    they begin with /files."""
    file_storage_secrets: SecretStr = SecretStr("")
    """Secrets that sign those URLs, separated by commas: the first one signs, each is accepted."""

    @field_validator("file_storage_url")
    @classmethod
    def _is_origin(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.netloc or parts.query):
            message = "must be like https://api.example.com"
            raise ValueError(message)
        return value.rstrip("/")

    @field_validator("file_storage_secrets")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if any(len(key) < SHORTEST_SECRET for key in _split(value)):
            message = f"each has at least {SHORTEST_SECRET} characters: `openssl rand -hex 32`"
            raise ValueError(message)
        return value

    @property
    def secrets(self) -> list[bytes]:
        """The secrets, the one for development if there is none."""
        return [key.encode() for key in _split(self.file_storage_secrets) or [DEVELOPMENT_SECRET]]

    def weaknesses(self) -> Iterable[Weakness]:
        """Signatures anybody can make."""
        if not _split(self.file_storage_secrets):
            yield Weakness(
                "FILE_STORAGE_SECRETS",
                "anybody can sign URLs of files",
                "FILE_STORAGE_SECRETS=$(openssl rand -hex 32), the same for all processes",
            )


def driver_settings() -> tuple[type[ModuleSettings], ...]:
    """Return the settings classes of the drivers: those in the `settings.py` of their folders."""
    found: list[type[ModuleSettings]] = []
    for driver in DRIVERS:
        module = importlib.import_module(f"{__package__}.{driver}.settings")
        found += [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, ModuleSettings)
            and value.__module__ == module.__name__
        ]
    return tuple(found)


def _split(keys: SecretStr) -> list[str]:
    return [key.strip() for key in keys.get_secret_value().split(",") if key.strip()]
