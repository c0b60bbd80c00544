"""Files in Azure Blob Storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from obstore.store import AzureStore

from app.core.errors import ConfigurationError
from app.infrastructure.storage.azure.settings import AzureStorageSettings
from app.infrastructure.storage.driver import DriverParts
from app.infrastructure.storage.objects.errors import configured
from app.infrastructure.storage.objects.store import ObjectDriver, client_options, retry_config

if TYPE_CHECKING:  # obstore has it for type checkers only
    from obstore.store import AzureConfig

FIX = "AZURE_STORAGE_ACCOUNT, AZURE_STORAGE_CONTAINER and AZURE_STORAGE_KEY"


def build(parts: DriverParts) -> ObjectDriver:
    """Make the driver.

    Raises:
        ConfigurationError: no account or no container is named.
    """
    settings = parts.all_settings.get(AzureStorageSettings)
    if not settings.azure_storage_account or not settings.azure_storage_container:
        message = (
            "FILE_STORAGE_DRIVER=azure needs a container: set AZURE_STORAGE_ACCOUNT and "
            "AZURE_STORAGE_CONTAINER"
        )
        raise ConfigurationError(message)
    config: AzureConfig = {"account_name": settings.azure_storage_account}
    if settings.azure_storage_endpoint_url:
        config["endpoint"] = settings.azure_storage_endpoint_url
    if key := settings.azure_storage_key.get_secret_value():
        config["account_key"] = key
    place = f"The Azure container {settings.azure_storage_container}"
    with configured(place, FIX):
        store = AzureStore(
            settings.azure_storage_container,
            config=config,
            client_options=client_options(parts.settings, settings.azure_storage_endpoint_url),
            retry_config=retry_config(parts.settings),
        )
    return ObjectDriver(store, place, FIX)
