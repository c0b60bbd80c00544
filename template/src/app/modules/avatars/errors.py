"""What can be wrong with a picture."""

from __future__ import annotations

from http import HTTPStatus

from app.core.errors import AppError, ContentTooLargeError, NotFoundError


class NotAPictureError(AppError):
    """This is no picture we can read: send PNG, JPEG or WebP."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class PictureTooLargeError(ContentTooLargeError):
    """The picture has too many bytes or pixels."""


class NoAvatarError(NotFoundError):
    """This user has no picture."""
