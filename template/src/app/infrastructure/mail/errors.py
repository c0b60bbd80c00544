"""What can go wrong with mail. Texts name no address: they are logged, and kept with dead jobs."""

from __future__ import annotations

from http import HTTPStatus

from app.core.errors import AppError


class MailError(AppError):
    """The mail was not sent."""


class InvalidMailError(MailError, ValueError):
    """The mail can't be sent as it is."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    repeatable = False


class MailTemplateError(MailError):
    """The mail's template can't be filled in."""

    repeatable = False


class MailUnavailableError(MailError):
    """The mail server can't take the mail at the moment. Whether it has is not always known."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class MailRefusedError(MailError):
    """The mail server refuses the mail for good."""

    status = HTTPStatus.BAD_GATEWAY
    repeatable = False


class MailPartlyRefusedError(MailRefusedError):
    """The mail server has taken the mail, but not for all recipients."""
