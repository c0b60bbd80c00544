"""What is S3's own: forms for uploads, parts that are left behind, addresses."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from app.core.container import build_container
from app.core.discovery import Registry, discover
from app.core.lifecycle import Lifecycle
from app.core.settings import load_settings
from app.infrastructure.storage import FileStorage, FileTooLargeError
from app.infrastructure.storage.driver import DriverParts
from app.infrastructure.storage.objects import store, upload
from app.infrastructure.storage.s3.driver import build
from app.infrastructure.storage.s3.forms import signing_key
from app.infrastructure.storage.s3.settings import S3Settings
from app.infrastructure.storage.settings import StorageSettings
from tests.infrastructure.storage.places import send

MIB = 1 << 20
PATIENCE = 60.0
EXAMPLE = """\
{ "expiration": "2015-12-30T12:00:00.000Z",
  "conditions": [
    {"bucket": "sigv4examplebucket"},
    ["starts-with", "$key", "user/user1/"],
    {"acl": "public-read"},
    {"success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"},
    ["starts-with", "$Content-Type", "image/"],
    {"x-amz-meta-uuid": "14365123651274"},
    {"x-amz-server-side-encryption": "AES256"},
    ["starts-with", "$x-amz-meta-tag", ""],

    {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"},
    {"x-amz-algorithm": "AWS4-HMAC-SHA256"},
    {"x-amz-date": "20151229T000000Z" }
  ]
}"""


@pytest.fixture
def driver_name() -> str:
    """On S3 only."""
    return "s3"


def unfinished() -> int:
    """Return how many multipart uploads the bucket holds parts of."""
    url = f"{os.environ['S3_ENDPOINT_URL']}/{os.environ['S3_BUCKET_NAME']}?uploads"
    status, body = send("GET", url)
    assert status == 200
    return body.count(b"<UploadId>")


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(MIB)
        await asyncio.sleep(0)


async def broken() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield bytes(MIB)
    raise ConnectionResetError


async def test_uploads_that_break_off_leave_no_parts(storage: FileStorage) -> None:
    """Refused, broken, cancelled: nobody pays for parts that no listing shows."""
    with pytest.raises(FileTooLargeError):
        await storage.put("a", endless(), max_size=30 * MIB)
    assert unfinished() == 0
    with pytest.raises(ConnectionResetError):
        await storage.put("a", broken())
    assert unfinished() == 0
    task = asyncio.create_task(storage.put("a", endless()))
    async with asyncio.timeout(PATIENCE):
        while not unfinished():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)
    assert unfinished() == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert unfinished() == 0
    assert (await storage.list()).files == ()


async def test_a_cloud_that_falls_silent_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a start of the service nor a task of an upload that was given up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for name, value in {
            "FILE_STORAGE_DRIVER": "s3",
            "APP_STARTUP_TIMEOUT": str(PATIENCE),
            "S3_BUCKET_NAME": "b",
            "S3_ACCESS_KEY_ID": "a",
            "S3_SECRET_ACCESS_KEY": "a-planted-secret-of-s3",
            "S3_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(upload, "ABANDON_SECONDS", 0.1)
        monkeypatch.setattr(store, "START_SECONDS", 0.3)
        only = Registry(tuple(m for m in discover().modules if m.name == "storage"))
        settings = load_settings(only.modules)
        container = build_container(only, settings)
        async with Lifecycle(only, settings, container):
            before = asyncio.all_tasks()
            storage = await container.get(FileStorage)
            putting = asyncio.create_task(storage.put("a", endless()))
            await asyncio.sleep(0.5)
            putting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await putting
            await asyncio.sleep(0)
            left = [str(task.get_coro()) for task in asyncio.all_tasks() - before]
            assert not [name for name in left if "_drain" not in name]


async def test_what_others_keep_in_the_bucket_is_not_listed(storage: FileStorage) -> None:
    """No key of ours is like that: it could not be got, nor could a page begin behind it."""
    url = f"{os.environ['S3_ENDPOINT_URL']}/{os.environ['S3_BUCKET_NAME']}"
    for name in ("a/%C3%BC%20x.png", "b/.hidden", "c"):
        assert send("PUT", f"{url}/{name}")[0] == 200
    await storage.put("d", b"x")
    page = await storage.list(limit=1)
    assert [file.key for file in page.files] == ["c"]
    assert [file.key for file in (await storage.list(after=page.next or "")).files] == ["d"]


async def test_the_largest_metadata_is_no_more_than_s3_takes(storage: FileStorage) -> None:
    """2,000 bytes of names and values, as they are in the headers."""
    parts = urlsplit(await storage.signed_url("a"))
    for letter in "/ %é":
        value = letter * (1799 // len(quote(letter)))
        await storage.put("a", b"x", metadata={"a": value})
        with closing(http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)) as connection:
            connection.request("GET", f"{parts.path}?{parts.query}")
            found = dict(connection.getresponse().getheaders())
        sent = {k: v for k, v in found.items() if k.lower().startswith("x-amz-meta-")}
        assert 1800 < sum(len(k) - len("x-amz-meta-") + len(v) for k, v in sent.items()) <= 2000
        assert (await storage.head("a")).metadata == {"a": value}


async def test_a_token_of_the_environment_is_not_mixed_with_our_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """AWS refuses a key with the token of another one; Lambda has one in each environment."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token-of-another-key")
    monkeypatch.setenv("S3_BUCKET_NAME", "b")
    monkeypatch.setenv("S3_ACCESS_KEY_ID", "ours")
    monkeypatch.setenv("S3_SECRET_ACCESS_KEY", "a-planted-secret-of-s3")
    for token in ("", "our-token"):
        monkeypatch.setenv("S3_SESSION_TOKEN", token)
        found = load_settings([m for m in discover().modules if m.name == "storage"])
        driver = build(DriverParts(settings=found.get(StorageSettings), all_settings=found))
        url = await driver.sign_download("a", timedelta(minutes=1))
        query = dict(parse_qsl(urlsplit(url or "").query))
        assert query["X-Amz-Credential"].startswith("ours/")
        assert query.get("X-Amz-Security-Token", "") == token


def test_the_signature_is_the_one_of_the_manual() -> None:
    """AWS, "Example: Browser-Based Upload using HTTP POST (Using AWS Signature Version 4)"."""
    policy = EXAMPLE.replace("\n", "\r\n")
    key = signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20151229", "us-east-1")
    signature = hmac.new(key, base64.b64encode(policy.encode()), hashlib.sha256).hexdigest()
    assert signature == "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e"


async def test_an_upload_is_signed_as_a_form_that_binds_all_of_it(storage: FileStorage) -> None:
    """Moto keeps what a form says without comparing it with the policy, so that is read here."""
    signed = await storage.signed_upload(
        "a/b.png", content_type="image/png", max_size=1000, expires=timedelta(minutes=1)
    )
    policy = json.loads(base64.b64decode(signed.fields["policy"]))
    bucket = os.environ["S3_BUCKET_NAME"]
    assert signed.method == "POST"
    assert signed.url == f"{os.environ['S3_ENDPOINT_URL']}/{bucket}"
    for condition in (
        {"bucket": bucket},
        {"key": "a/b.png"},
        {"Content-Type": "image/png"},
        ["content-length-range", 0, 1000],
    ):
        assert condition in policy["conditions"]
    named = {name for item in policy["conditions"] if isinstance(item, dict) for name in item}
    assert {*signed.fields} - {"policy", "x-amz-signature"} <= named
    assert policy["expiration"].startswith(f"{signed.expires_at:%Y-%m-%dT%H:%M:%S}")
    assert "a-planted-secret-of-s3" not in repr(signed)


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "https://b.s3.eu-west-1.amazonaws.com"),
        ({"s3_path_style": True}, "https://s3.eu-west-1.amazonaws.com/b"),
        ({"s3_endpoint_url": "http://minio:9000"}, "http://minio:9000/b"),
        (
            {"s3_endpoint_url": "https://r2.example.com/", "s3_path_style": False},
            "https://b.r2.example.com",
        ),
    ],
)
def test_the_address_of_a_bucket(values: dict[str, object], url: str) -> None:
    found = S3Settings.model_validate({"s3_bucket_name": "b", "s3_region": "eu-west-1", **values})
    assert found.bucket_url == url


@pytest.mark.parametrize(
    "values",
    [
        {"s3_access_key_id": "a"},
        {"s3_secret_access_key": "a"},
        {"s3_endpoint_url": "minio:9000"},
    ],
)
def test_half_a_configuration_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="S3_"):
        S3Settings.model_validate(values)
