"""Files in Google Cloud Storage."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.store import GCSStore

from app.core.errors import ConfigurationError
from app.infrastructure.storage.driver import DriverParts
from app.infrastructure.storage.gcs.settings import GcsSettings
from app.infrastructure.storage.objects.errors import configured
from app.infrastructure.storage.objects.store import ObjectDriver, client_options, retry_config

if TYPE_CHECKING:  # obstore has it for type checkers only
    from obstore.store import GCSConfig

FIX = "GCS_BUCKET_NAME and GCS_CREDENTIALS_FILE"


def build(parts: DriverParts) -> GcsDriver:
    """Make the driver.

    Raises:
        ConfigurationError: no bucket is named, or the credentials can't be read.
    """
    settings = parts.all_settings.get(GcsSettings)
    if not settings.gcs_bucket_name:
        message = "FILE_STORAGE_DRIVER=gcs needs a bucket: set GCS_BUCKET_NAME"
        raise ConfigurationError(message)
    config: GCSConfig = {}
    if settings.gcs_endpoint_url:
        config["base_url"] = settings.gcs_endpoint_url
    if settings.gcs_credentials_file:
        if not settings.gcs_credentials_file.is_file():
            message = f"GCS_CREDENTIALS_FILE={settings.gcs_credentials_file} is no file"
            raise ConfigurationError(message)
        config["service_account"] = str(settings.gcs_credentials_file)
    if token := settings.gcs_access_token.get_secret_value():
        config["bearer_token"] = token
    place = f"The GCS bucket {settings.gcs_bucket_name}"
    with configured(place, FIX):
        store = GCSStore(
            settings.gcs_bucket_name,
            config=config,
            client_options=client_options(parts.settings, settings.gcs_endpoint_url),
            retry_config=retry_config(parts.settings),
        )
    return GcsDriver(store, place, signs="bearer_token" not in config)


class GcsDriver(ObjectDriver):
    """See `Driver`."""

    def __init__(self, store: GCSStore, place: str, *, signs: bool) -> None:
        """Keep objects in a bucket; `signs` unless all there is is a token."""
        super().__init__(store, place, FIX)
        self._signs = signs

    async def sign_download(self, key: str, expires: timedelta) -> str | None:
        """See `Driver.sign_download`.

        None, so that the service serves the file itself, for a token, which can't sign, and for
        keys with `+`, `=` or `,`: Google wants those percent-encoded in what is signed ("Canonical
        requests"), obstore 0.12 signs them as they are.
        """
        if not self._signs or any(letter in key for letter in "+=,"):
            return None
        return await super().sign_download(key, expires)
