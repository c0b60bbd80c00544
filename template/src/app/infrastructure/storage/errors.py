"""What can go wrong with files."""

from __future__ import annotations

from http import HTTPStatus

from app.core.errors import (
    AppError,
    BadRequestError,
    ContentTooLargeError,
    ForbiddenError,
    NotFoundError,
    ServiceUnavailableError,
    UnprocessableError,
)


class StoredFileNotFoundError(NotFoundError):
    """There is no such file."""


class InvalidKeyError(BadRequestError):
    """This is no name a file can have."""


class InvalidDetailsError(BadRequestError):
    """The content type or the metadata of the file can't be kept as they are."""


class FileTooLargeError(ContentTooLargeError):
    """The file is larger than is accepted here."""


class ChecksumMismatchError(UnprocessableError):
    """What arrived is not what was sent: the checksum differs. Send the file again."""


class InvalidSignatureError(ForbiddenError):
    """This address is not signed for what you do with it, or it has expired."""


class UploadInterruptedError(BadRequestError):
    """The file did not arrive whole. Nothing of it was kept."""


class RangeNotSatisfiableError(AppError):
    """The file has no such part."""

    status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE


class StorageUnavailableError(ServiceUnavailableError):
    """Files can't be reached at the moment. Try again in a moment."""


class StorageRefusedError(StorageUnavailableError):
    """The file storage does not accept the service's credentials."""
