"""Settings of this driver."""

from __future__ import annotations

from pathlib import Path

from app.core.settings import ModuleSettings


class LocalStorageSettings(ModuleSettings):
    """Where files are on disk."""

    file_storage_local_dir: Path = Path("var/files")
    """Folder of the files; nothing else may write into it."""
    file_storage_local_durable: bool = False
    """Whether that folder is a volume which all processes share and backups hold. Say so to use it
    in production."""
