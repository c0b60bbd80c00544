"""Files in S3."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from obstore.store import S3Store

from app.core.errors import ConfigurationError
from app.infrastructure.storage.driver import DriverParts
from app.infrastructure.storage.files import SignedUpload
from app.infrastructure.storage.objects.errors import configured
from app.infrastructure.storage.objects.store import ObjectDriver, client_options, retry_config
from app.infrastructure.storage.s3.forms import Credentials, form_fields
from app.infrastructure.storage.s3.settings import S3Settings

if TYPE_CHECKING:  # obstore has it for type checkers only
    from obstore.store import S3Config, S3Credential

FIX = "S3_BUCKET_NAME, S3_REGION, S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY"


def build(parts: DriverParts) -> S3Driver:
    """Make the driver.

    Raises:
        ConfigurationError: no bucket is named.
    """
    settings = parts.all_settings.get(S3Settings)
    if not settings.s3_bucket_name:
        message = "FILE_STORAGE_DRIVER=s3 needs a bucket: set S3_BUCKET_NAME"
        raise ConfigurationError(message)
    config: S3Config = {
        "region": settings.s3_region,
        "virtual_hosted_style_request": not settings.path_style,
    }
    if settings.s3_endpoint_url:
        # obstore wants the bucket in the endpoint when it is part of the host name.
        config["endpoint"] = (
            settings.s3_endpoint_url if settings.path_style else settings.bucket_url
        )
    place = f"The S3 bucket {settings.s3_bucket_name}"
    with configured(place, FIX):
        store = S3Store(
            settings.s3_bucket_name,
            config=config,
            client_options=client_options(parts.settings, settings.s3_endpoint_url),
            retry_config=retry_config(parts.settings),
            credential_provider=_own_key(settings) if settings.s3_access_key_id else None,
        )
    return S3Driver(store, place, settings)


def _own_key(settings: S3Settings) -> Callable[[], S3Credential]:
    """Return what gives obstore the key of the settings.

    Named in the configuration, it would be mixed with an `AWS_SESSION_TOKEN` of the environment,
    which belongs to another key.
    """
    credential: S3Credential = {
        "access_key_id": settings.s3_access_key_id,
        "secret_access_key": settings.s3_secret_access_key.get_secret_value(),
        "token": settings.s3_session_token.get_secret_value() or None,
        "expires_at": None,
    }
    return lambda: credential


class S3Driver(ObjectDriver):
    """See `Driver`."""

    def __init__(self, store: S3Store, place: str, settings: S3Settings) -> None:
        """Keep objects in the bucket of the settings."""
        super().__init__(store, place, FIX)
        self._settings = settings

    def sign_upload(
        self, key: str, content_type: str, max_size: int, expires: timedelta
    ) -> SignedUpload | None:
        """See `Driver.sign_upload`: a form whose policy S3 enforces.

        With a role in place of a key there is nothing to sign with: the service takes the upload.
        """
        settings = self._settings
        if not settings.s3_access_key_id:
            return None
        now = datetime.now(UTC)
        fields = form_fields(
            Credentials(
                access_key_id=settings.s3_access_key_id,
                secret_access_key=settings.s3_secret_access_key.get_secret_value(),
                session_token=settings.s3_session_token.get_secret_value(),
                region=settings.s3_region,
            ),
            {"bucket": settings.s3_bucket_name, "key": key, "Content-Type": content_type},
            max_size,
            now,
            now + expires,
        )
        return SignedUpload(
            method="POST", url=settings.bucket_url, expires_at=now + expires, fields=fields
        )
