"""Files: on local disk, S3 and what speaks like it, Azure Blob Storage or Google Cloud Storage."""

from app.infrastructure.storage.content import Content, Readable, Source
from app.infrastructure.storage.errors import (
    ChecksumMismatchError,
    FileTooLargeError,
    InvalidDetailsError,
    InvalidKeyError,
    InvalidSignatureError,
    RangeNotSatisfiableError,
    StorageUnavailableError,
    StoredFileNotFoundError,
)
from app.infrastructure.storage.files import Download, FileInfo, FilePage, ListedFile, SignedUpload
from app.infrastructure.storage.keys import file_key, safe_name
from app.infrastructure.storage.serving import file_response
from app.infrastructure.storage.storage import FileStorage

__all__ = [
    "ChecksumMismatchError",
    "Content",
    "Download",
    "FileInfo",
    "FilePage",
    "FileStorage",
    "FileTooLargeError",
    "InvalidDetailsError",
    "InvalidKeyError",
    "InvalidSignatureError",
    "ListedFile",
    "RangeNotSatisfiableError",
    "Readable",
    "SignedUpload",
    "Source",
    "StorageUnavailableError",
    "StoredFileNotFoundError",
    "file_key",
    "file_response",
    "safe_name",
]
