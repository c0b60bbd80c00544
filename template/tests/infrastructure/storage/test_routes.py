"""Signed URLs of the service itself: what they allow, what they refuse, and parts of files."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from dishka import AsyncContainer, Provider, Scope
from httpx2 import AsyncClient

from app.core.clock import Clock, ManualClock
from app.core.discovery import discover
from app.core.errors import ConfigurationError
from app.core.settings import load_settings, require_strong
from app.infrastructure.storage import (
    FileStorage,
    FileTooLargeError,
    InvalidSignatureError,
    SignedUpload,
    file_key,
)
from app.infrastructure.storage.settings import StorageSettings
from app.infrastructure.storage.signing import Grant, UrlSigner

TEXT = bytes(range(100))
CLOCK = ManualClock(datetime.now(UTC))
SECRETS = ("the-first-of-two-secrets-0123456789", "the-other-of-two-secrets-9876543210")


@pytest.fixture
def overrides(overrides: list[Provider]) -> list[Provider]:
    """A clock that a test can move on."""

    def clock() -> Clock:
        return CLOCK

    provider = Provider(scope=Scope.APP)
    provider.provide(clock, override=True)
    return [*overrides, provider]


@pytest.fixture
async def storage(container: AsyncContainer) -> FileStorage:
    CLOCK.current = datetime.now(UTC)
    return await container.get(FileStorage)


@pytest.fixture
async def url(storage: FileStorage) -> str:
    """The signed URL of a picture."""
    await storage.put("a/b.png", TEXT)
    return await storage.signed_url("a/b.png", timedelta(minutes=1))


@pytest.fixture
async def upload(storage: FileStorage) -> SignedUpload:
    """Allows a picture of up to 1,000 bytes."""
    return await storage.signed_upload("a/b.png", content_type="image/png", max_size=1000)


def changed(url: str, **values: object) -> str:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query)) | {name: str(value) for name, value in values.items()}
    return parts._replace(query=urlencode(query)).geturl()


async def test_a_signed_url_gives_the_file(client: AsyncClient, url: str) -> None:
    answer = await client.get(url)
    assert (answer.status_code, answer.content) == (200, TEXT)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == "100"
    assert answer.headers["content-disposition"] == "inline"
    assert answer.headers["accept-ranges"] == "bytes"
    head = await client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == "100"
    assert head.headers["etag"] == answer.headers["etag"]


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "script.js", "doc.pdf", "x"])
async def test_what_could_run_in_a_browser_is_saved_instead(
    client: AsyncClient, storage: FileStorage, name: str
) -> None:
    await storage.put(name, b"<script>alert(1)</script>")
    answer = await client.get(await storage.signed_url(name))
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=10-10", 10, 11),
        ("bytes=90-", 90, 100),
        ("bytes=90-4000", 90, 100),
        ("bytes=-10", 90, 100),
        ("bytes=-4000", 0, 100),
        ("Bytes = 0-0", 0, 1),
    ],
)
async def test_a_range_gives_its_part(
    client: AsyncClient, url: str, header: str, start: int, end: int
) -> None:
    """RFC 9110 §14.1.2: first and last, from a first, and a suffix."""
    answer = await client.get(url, headers={"Range": header})
    assert (answer.status_code, answer.content) == (206, TEXT[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/100"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
async def test_a_part_that_is_not_there_is_416(client: AsyncClient, url: str, header: str) -> None:
    answer = await client.get(url, headers={"Range": header})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */100"
    assert answer.json()["type"].endswith("range-not-satisfiable")


@pytest.mark.parametrize(
    "header", ["bytes=9-3", "bytes=a-b", "items=0-9", "bytes=0-1,4-5", "bytes=", "bytes=-", "0-9"]
)
async def test_a_range_nobody_understands_is_ignored(
    client: AsyncClient, url: str, header: str
) -> None:
    """So may several ranges be (§14.2)."""
    answer = await client.get(url, headers={"Range": header})
    assert (answer.status_code, answer.content) == (200, TEXT)


async def test_if_range_gives_the_part_of_the_same_version_only(
    client: AsyncClient, url: str, storage: FileStorage
) -> None:
    info = await storage.head("a/b.png")
    modified = format_datetime(info.modified_at, usegmt=True)
    part = {"Range": "bytes=0-9"}
    for condition, status in (
        (info.etag, 206),
        (modified, 206),
        (f"W/{info.etag}", 200),
        ('"other"', 200),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 200),
    ):
        answer = await client.get(url, headers=part | {"If-Range": condition})
        assert answer.status_code == status, condition


async def test_if_match_gives_that_version_or_nothing(
    client: AsyncClient, url: str, storage: FileStorage
) -> None:
    """RFC 9110 §13.1.1: who goes on with a download must not get the rest of another file."""
    info = await storage.head("a/b.png")
    modified = format_datetime(info.modified_at, usegmt=True)
    for name, condition, status in (
        ("If-Match", info.etag, 206),
        ("If-Match", f'"x", {info.etag}', 206),
        ("If-Match", "*", 206),
        ("If-Match", f"W/{info.etag}", 412),
        ("If-Match", '"x"', 412),
        ("If-Match", "nonsense", 412),
        ("If-Unmodified-Since", modified, 206),
        ("If-Unmodified-Since", "nonsense", 206),
        ("If-Unmodified-Since", "Wed, 21 Oct 2015 07:28:00 GMT", 412),
    ):
        answer = await client.get(url, headers={"Range": "bytes=0-9", name: condition})
        assert answer.status_code == status, condition


async def test_if_none_match_saves_the_transfer(
    client: AsyncClient, url: str, storage: FileStorage
) -> None:
    etag = (await storage.head("a/b.png")).etag
    for condition in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = await client.get(url, headers={"If-None-Match": condition, "Range": "bytes=0-1"})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
    assert (await client.get(url, headers={"If-None-Match": '"x"'})).status_code == 200


async def test_a_url_works_for_what_was_signed_only(
    client: AsyncClient, url: str, storage: FileStorage
) -> None:
    await storage.put("a/c.png", b"another")
    refused = {
        "another key": url.replace("a/b.png", "a/c.png"),
        "a longer life": changed(url, expires=1 << 39),
        "no signature": changed(url, signature=""),
        "another signature": changed(url, signature="0" * 64),
        "not ASCII": changed(url, signature="é"),
    }
    for why, address in refused.items():
        answer = await client.get(address)
        assert answer.status_code == 403, why
        assert answer.json()["type"].endswith("invalid-signature")
    assert (await client.put(changed(url, type="image/png", max=9))).status_code == 403
    assert (await client.get(url.partition("?")[0])).status_code == 422
    CLOCK.advance(timedelta(minutes=1))
    assert (await client.get(url)).status_code == 403


async def test_one_changed_character_is_refused_wherever_it_is(
    client: AsyncClient, upload: SignedUpload
) -> None:
    chance = random.Random(7)  # noqa: S311 - the same ones each time
    for _ in range(300):
        position = chance.randrange(len("/files/"), len(upload.url))
        letter = chance.choice("abcdef0123456789/=&%.")
        if upload.url[position] == letter:
            continue
        address = upload.url[:position] + letter + upload.url[position + 1 :]
        answer = await client.put(address, content=b"x", headers=dict(upload.headers))
        assert answer.status_code in {400, 403, 404, 422}, address


async def test_a_signed_upload_is_taken(
    client: AsyncClient, upload: SignedUpload, storage: FileStorage
) -> None:
    answer = await client.put(upload.url, content=TEXT * 10, headers=dict(upload.headers))
    assert (answer.status_code, answer.content) == (204, b"")
    info = await storage.head("a/b.png")
    assert (info.size, info.content_type, info.etag) == (1000, "image/png", answer.headers["etag"])


async def test_an_upload_that_deviates_is_refused(
    client: AsyncClient, upload: SignedUpload, storage: FileStorage
) -> None:
    """Other key, other method, other type, oversize, expired, edited: nothing is kept."""
    headers = dict(upload.headers)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield TEXT

    asked = [
        (client.put(upload.url.replace("b.png", "c.png"), content=b"x", headers=headers), 403),
        (client.get(upload.url), 403),
        (client.put(upload.url, content=b"x", headers={"Content-Type": "text/html"}), 403),
        (client.put(upload.url, content=b"x"), 403),
        (client.put(upload.url, content=TEXT * 11, headers=headers), 413),
        (client.put(upload.url, content=endless(), headers=headers), 413),
        (client.put(changed(upload.url, max=2000), content=b"x", headers=headers), 403),
        (client.put(changed(upload.url, type="a/b"), content=b"x", headers=headers), 403),
    ]
    for answering, status in asked:
        assert (await answering).status_code == status
    CLOCK.advance(timedelta(minutes=15))
    assert (await client.put(upload.url, content=b"x", headers=headers)).status_code == 403
    assert (await storage.list()).files == ()


async def test_an_upload_larger_than_a_request_may_be_is_taken(
    client: AsyncClient, storage: FileStorage
) -> None:
    """What was signed counts, not `REQUEST_MAX_SIZE`."""
    signed = await storage.signed_upload("big", content_type="x/y", max_size=5 << 20)
    answer = await client.put(signed.url, content=bytes(5 << 20), headers=dict(signed.headers))
    assert answer.status_code == 204


async def test_nobody_signs_for_more_than_the_service_takes(storage: FileStorage) -> None:
    signed = await storage.signed_upload("a", content_type="x/y", max_size=1 << 60)
    assert f"max={100 << 20}" in signed.url
    with pytest.raises(FileTooLargeError):
        await storage.put("a", bytes(10), max_size=9)


def test_secrets_can_be_changed_in_operation() -> None:
    """URLs of the old secret are valid while it is listed; new ones are signed with the first."""
    grant = Grant(method="GET", key="a", expires=1 << 40)
    old, both, new = (
        UrlSigner([secret.encode() for secret in secrets], "https://api.example.com")
        for secrets in (SECRETS[1:], SECRETS, SECRETS[:1])
    )
    assert old.sign(grant).startswith("https://api.example.com/files/a?")
    signature = dict(parse_qsl(urlsplit(old.sign(grant)).query))["signature"]
    both.check(grant, signature, datetime.now(UTC))
    with pytest.raises(InvalidSignatureError):
        new.check(grant, signature, datetime.now(UTC))
    assert both.sign(grant) == new.sign(grant) != old.sign(grant)


@pytest.mark.parametrize(
    "values",
    [
        {"file_storage_secrets": "short"},
        {"file_storage_secrets": f"{SECRETS[0]},short"},
        {"file_storage_url": "api.example.com"},
        {"file_storage_driver": "floppy"},
        {"file_storage_max_size": 0},
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"file_storage|Value error"):
        StorageSettings.model_validate(values)


def test_production_refuses_a_secret_everybody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = [module for module in discover().modules if module.name == "storage"]
    monkeypatch.setenv("APP_ENV", "production")
    with pytest.raises(ConfigurationError, match=r"FILE_STORAGE_SECRETS=.*openssl rand"):
        require_strong(load_settings(modules))
    monkeypatch.setenv("FILE_STORAGE_SECRETS", ",".join(SECRETS))
    settings = load_settings(modules)
    require_strong(settings)
    assert not any(secret in repr(list(settings)) for secret in SECRETS)


@pytest.mark.slow
def test_the_command_puts_lists_gets_signs_and_removes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT)

    def app(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "app", "storage", *words],
            env={
                **os.environ,
                "FILE_STORAGE_LOCAL_DIR": str(tmp_path / "files"),
                "PYTHONPATH": "src",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    source, target, key = str(tmp_path / "a.txt"), tmp_path / "b.txt", file_key("t", "a.txt")
    assert "100 bytes, text/plain" in app("put", source, key)
    app("get", key, str(target))
    assert target.read_bytes() == TEXT
    assert app("sign", key).startswith("/files/t/a.txt?expires=")
    assert app("ls", "t").split()[::3] == ["100", key]
    app("rm", key, "nobody")
    assert "There is no such file" in app("get", key, str(tmp_path / "c"), code=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt", "files"]
