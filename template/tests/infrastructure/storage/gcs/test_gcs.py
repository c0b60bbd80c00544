"""What is Google's own: how its URLs are signed. Checked without Google, and without our signer."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from app.core.discovery import discover
from app.core.errors import ConfigurationError
from app.core.settings import SettingsBundle, load_settings
from app.infrastructure.storage.driver import DriverParts
from app.infrastructure.storage.gcs.driver import build
from app.infrastructure.storage.settings import StorageSettings

EMAIL = "files@plinth-test.iam.gserviceaccount.com"
KEY = "a/b_c-d.txt"
OPENSSL = shutil.which("openssl")


def openssl(*words: str | Path) -> str:
    """Run OpenSSL: another implementation than the one that signs."""
    if OPENSSL is None:
        reason = "no openssl here: `apt-get install openssl`"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return subprocess.run([OPENSSL, *words], check=True, capture_output=True, text=True).stdout


def settings() -> SettingsBundle:
    return load_settings([module for module in discover().modules if module.name == "storage"])


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DriverParts:
    """A service account whose key was made for this test."""
    private = tmp_path / "private.pem"
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", tmp_path / "public.pem")
    account = {
        "type": "service_account",
        "client_email": EMAIL,
        "private_key_id": "1",
        "private_key": private.read_text(encoding="utf-8"),
    }
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account), encoding="utf-8")
    monkeypatch.setenv("GCS_BUCKET_NAME", "my-files")
    monkeypatch.setenv("GCS_CREDENTIALS_FILE", str(file))
    found = settings()
    return DriverParts(settings=found.get(StorageSettings), all_settings=found)


async def test_a_url_is_signed_as_google_describes_it(parts: DriverParts, tmp_path: Path) -> None:
    """The signature is one of the service account for exactly this request.

    Google, "Canonical requests" and "Signatures" (V4): what is signed is put together here from
    the URL, as Google does when the URL arrives; OpenSSL compares.
    """
    url = await build(parts).sign_download(KEY, timedelta(minutes=5))
    assert url is not None
    address = urlsplit(url)
    assert (address.scheme, address.netloc) == ("https", "storage.googleapis.com")
    assert address.path == f"/my-files/{KEY}"

    query = dict(parse_qsl(address.query, strict_parsing=True))
    signature = bytes.fromhex(query.pop("X-Goog-Signature"))
    signed_at = datetime.strptime(query["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    scope = f"{signed_at:%Y%m%d}/auto/storage/goog4_request"
    assert abs(datetime.now(UTC) - signed_at) < timedelta(minutes=1)
    assert query == {
        "X-Goog-Algorithm": "GOOG4-RSA-SHA256",
        "X-Goog-Credential": f"{EMAIL}/{scope}",
        "X-Goog-Date": query["X-Goog-Date"],
        "X-Goog-Expires": "300",
        "X-Goog-SignedHeaders": "host",
    }
    canonical_query = "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items())
    )

    def verify(path: str) -> str:
        request = f"GET\n{path}\n{canonical_query}\nhost:{address.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"GOOG4-RSA-SHA256\n{query['X-Goog-Date']}\n{scope}\n{digest}"
        (tmp_path / "text").write_bytes(text.encode())
        (tmp_path / "signature").write_bytes(signature)
        words = ("dgst", "-sha256", "-verify", tmp_path / "public.pem")
        return openssl(*words, "-signature", tmp_path / "signature", tmp_path / "text")

    assert verify(address.path) == "Verified OK\n"
    with pytest.raises(subprocess.CalledProcessError):
        verify("/my-files/another.txt")


async def test_what_obstore_would_sign_otherwise_is_not_signed(parts: DriverParts) -> None:
    """Google wants `+ = ,` of a path encoded in what is signed, obstore leaves them as they are."""
    for key in ("a+b", "a/b=c", "a,b/c"):
        assert await build(parts).sign_download(key, timedelta(minutes=5)) is None


async def test_a_token_signs_nothing(parts: DriverParts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service serves those files itself."""
    monkeypatch.setenv("GCS_ACCESS_TOKEN", "a-planted-token")
    driver = build(DriverParts(settings=parts.settings, all_settings=settings()))
    assert await driver.sign_download(KEY, timedelta(minutes=5)) is None


@pytest.mark.parametrize("content", [None, "{a planted secret", '{"type": "service_account"}'])
def test_credentials_that_cannot_be_read_are_said_at_start(
    parts: DriverParts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "broken.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    monkeypatch.setenv("GCS_CREDENTIALS_FILE", str(file))
    with pytest.raises(ConfigurationError, match="GCS_CREDENTIALS_FILE") as caught:
        build(DriverParts(settings=parts.settings, all_settings=settings()))
    assert "planted" not in str(caught.value)
