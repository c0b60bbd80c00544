"""Settings of this driver."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import SecretStr, field_validator

from app.core.settings import ModuleSettings, Weakness


class GcsSettings(ModuleSettings):
    """Which bucket of Google Cloud Storage, and as whom."""

    gcs_bucket_name: str = ""
    """Bucket of the files, which must exist; Firebase's is PROJECT.firebasestorage.app."""
    gcs_credentials_file: Path | None = None
    """JSON file of a service account; none: the identity of the machine or the pod is used."""
    gcs_access_token: SecretStr = SecretStr("")
    """OAuth token used as it is until it expires; for tools and emulators."""
    gcs_endpoint_url: str = ""
    """Address of an emulator, http://gcs:4443; empty: Google."""

    @field_validator("gcs_endpoint_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            message = "must be like http://localhost:4443"
            raise ValueError(message)
        return value

    def weaknesses(self) -> Iterable[Weakness]:
        """Files and tokens that anybody on the way can read."""
        if self.gcs_endpoint_url.startswith("http://"):
            yield Weakness("GCS_ENDPOINT_URL", "files travel unencrypted", "leave it out")
