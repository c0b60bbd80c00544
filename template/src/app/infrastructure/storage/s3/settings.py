"""Settings of this driver."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import SecretStr, model_validator

from app.core.settings import ModuleSettings, Weakness


class S3Settings(ModuleSettings):
    """Which bucket of which S3."""

    s3_bucket_name: str = ""
    """Bucket of the files; it must exist."""
    s3_access_key_id: str = ""
    """Access key; empty: AWS is asked for the machine's or the pod's own role."""
    s3_secret_access_key: SecretStr = SecretStr("")
    """Secret of the access key."""
    s3_session_token: SecretStr = SecretStr("")
    """Token that goes with a key made for a while."""
    s3_region: str = "us-east-1"
    """Region of the bucket; MinIO does not mind."""
    s3_endpoint_url: str = ""
    """Address of another S3, such as MinIO's http://minio:9000; empty: AWS."""
    s3_path_style: bool | None = None
    """Whether the bucket is in the path and not in the host name. By default with an endpoint."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if bool(self.s3_access_key_id) != bool(self.s3_secret_access_key.get_secret_value()):
            message = "S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY go together: set both, or none"
            raise ValueError(message)
        if self.s3_endpoint_url and not self.s3_endpoint_url.startswith(("http://", "https://")):
            message = "S3_ENDPOINT_URL must be like https://minio.example.com"
            raise ValueError(message)
        return self

    @property
    def path_style(self) -> bool:
        """Whether the bucket is in the path."""
        return bool(self.s3_endpoint_url) if self.s3_path_style is None else self.s3_path_style

    @property
    def bucket_url(self) -> str:
        """Address of the bucket, for a form."""
        base = self.s3_endpoint_url.rstrip("/") or f"https://s3.{self.s3_region}.amazonaws.com"
        scheme, _, host = base.partition("://")
        if self.path_style:
            return f"{scheme}://{host}/{self.s3_bucket_name}"
        return f"{scheme}://{self.s3_bucket_name}.{host}"

    def weaknesses(self) -> Iterable[Weakness]:
        """Files and signatures that anybody on the way can read."""
        if self.s3_endpoint_url.startswith("http://"):
            yield Weakness(
                "S3_ENDPOINT_URL",
                "files travel unencrypted",
                f"S3_ENDPOINT_URL=https://{self.s3_endpoint_url.removeprefix('http://')}",
            )
