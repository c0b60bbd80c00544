"""Settings of this driver."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import SecretStr, field_validator

from app.core.settings import ModuleSettings, Weakness


class AzureStorageSettings(ModuleSettings):
    """Which container of which storage account."""

    azure_storage_account: str = ""
    """Name of the storage account."""
    azure_storage_key: SecretStr = SecretStr("")
    """Key of the account; empty: the identity of the machine or the pod is used."""
    azure_storage_container: str = ""
    """Container of the files; it must exist."""
    azure_storage_endpoint_url: str = ""
    """Address of another blob service, such as Azurite's http://azurite:10000/devstoreaccount1;
    empty: https://ACCOUNT.blob.core.windows.net."""

    @field_validator("azure_storage_endpoint_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            message = "must be like https://account.blob.core.windows.net"
            raise ValueError(message)
        return value

    def weaknesses(self) -> Iterable[Weakness]:
        """Files and signatures that anybody on the way can read."""
        if self.azure_storage_endpoint_url.startswith("http://"):
            yield Weakness(
                "AZURE_STORAGE_ENDPOINT_URL",
                "files travel unencrypted",
                "AZURE_STORAGE_ENDPOINT_URL=https://ACCOUNT.blob.core.windows.net, or leave it out",
            )
