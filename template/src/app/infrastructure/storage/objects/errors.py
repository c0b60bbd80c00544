"""Turn what obstore raises into the service's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from app.core.errors import ConfigurationError
from app.infrastructure.storage.errors import (
    StorageRefusedError,
    StorageUnavailableError,
    StoredFileNotFoundError,
)


@contextmanager
def translated() -> Iterator[None]:
    """Raise the service's errors for obstore's, whose texts quote addresses and answers.

    Nothing but a call of obstore belongs inside: it raises plain `OSError` too.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise StoredFileNotFoundError from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise StorageRefusedError from error
    except (BaseError, OSError) as error:
        raise StorageUnavailableError from error


@contextmanager
def configured(place: str, fix: str) -> Iterator[None]:
    """Say which settings are wrong when a store can't be made of them.

    Raises:
        ConfigurationError: without what obstore said of it: that may quote a file of credentials.
    """
    try:
        yield
    except (BaseError, ValueError, OSError) as error:
        message = f"{place} can't be used as it is configured: look at {fix}"
        raise ConfigurationError(message) from error
