"""What is Azure's own: its settings."""

from __future__ import annotations

import pytest

from app.core.discovery import discover
from app.core.errors import ConfigurationError
from app.core.settings import load_settings
from app.infrastructure.storage.azure.driver import build
from app.infrastructure.storage.driver import DriverParts
from app.infrastructure.storage.settings import StorageSettings


@pytest.mark.parametrize(
    ("account", "key"), [("account", "a planted key that is no base64"), ("no name", "aGk=")]
)
def test_what_cannot_be_an_account_is_said_at_start(
    monkeypatch: pytest.MonkeyPatch, account: str, key: str
) -> None:
    """With the names of the settings, without the key."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", account)
    monkeypatch.setenv("AZURE_STORAGE_CONTAINER", "files")
    monkeypatch.setenv("AZURE_STORAGE_KEY", key)
    found = load_settings([module for module in discover().modules if module.name == "storage"])
    with pytest.raises(ConfigurationError, match="AZURE_STORAGE_KEY") as caught:
        build(DriverParts(settings=found.get(StorageSettings), all_settings=found))
    assert "planted" not in str(caught.value)
