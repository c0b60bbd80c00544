"""Forms with which a browser uploads to S3: the policy in it bounds type and size.

AWS, "Authenticating Requests: Browser-Based Uploads Using POST (AWS Signature Version 4)".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What signs."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    region: str

    def __repr__(self) -> str:
        """Return it without the secrets."""
        return f"Credentials({self.access_key_id!r}, {self.region!r})"


def form_fields(
    credentials: Credentials,
    exact: Mapping[str, str],
    max_size: int,
    now: datetime,
    until: datetime,
) -> dict[str, str]:
    """Return the fields of a form that uploads one object.

    Args:
        credentials: what signs.
        exact: bucket, key and content type; the form can't deviate from them.
        max_size: bytes.
        now: when it is signed.
        until: when S3 begins to refuse it.
    """
    day = f"{now:%Y%m%d}"
    fields = {name: value for name, value in exact.items() if name != "bucket"} | {
        "success_action_status": "201",
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": (
            f"{credentials.access_key_id}/{day}/{credentials.region}/s3/aws4_request"
        ),
        "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}",
    }
    if credentials.session_token:
        fields["x-amz-security-token"] = credentials.session_token
    conditions: list[object] = [{name: value} for name, value in {**exact, **fields}.items()]
    conditions.append(["content-length-range", 0, max_size])
    policy = {"expiration": f"{until:%Y-%m-%dT%H:%M:%S.000Z}", "conditions": conditions}
    encoded = base64.b64encode(json.dumps(policy).encode()).decode()
    key = signing_key(credentials.secret_access_key, day, credentials.region)
    signature = hmac.new(key, encoded.encode(), hashlib.sha256).hexdigest()
    return fields | {"policy": encoded, "x-amz-signature": signature}


def signing_key(secret: str, day: str, region: str) -> bytes:
    """Return the key of a day (AWS, "Create a signed AWS API request", step 4)."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    return key
