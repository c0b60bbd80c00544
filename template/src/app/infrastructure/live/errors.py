"""What can go wrong with live streams."""

from __future__ import annotations

from http import HTTPStatus

from app.core.errors import AppError, BadRequestError, ForbiddenError, NotFoundError


class UnknownChannelError(NotFoundError):
    """There is no such channel."""


class ChannelForbiddenError(ForbiddenError):
    """You may not follow this channel."""


class TooManyChannelsError(BadRequestError):
    """One client can't follow so many channels."""


class TooManyClientsError(AppError):
    """You have too many streams open. Close one, or try again later."""

    status = HTTPStatus.TOO_MANY_REQUESTS
