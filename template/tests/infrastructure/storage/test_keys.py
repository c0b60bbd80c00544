"""No name reaches a file outside the folder, however it is written."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

import pytest
from httpx2 import AsyncClient

from app.infrastructure.storage import FileStorage, InvalidKeyError, file_key, safe_name
from app.infrastructure.storage.keys import LONGEST_KEY, LONGEST_NAME, check_key, is_key
from app.infrastructure.storage.settings import DEVELOPMENT_SECRET
from app.infrastructure.storage.signing import Grant, UrlSigner

STEPS = [
    *("..", ".", "", "...", "....//", "..\\", "..;", "%2e%2e", "%252e%252e", "%c0%ae%c0%ae"),
    *("..\0", "\0", "..%00", "..%2f", "..%5c", "%2e%2e%2f", ".. ", " ..", "..\n", "a\r\nb"),
    *("\uff0e\uff0e", "\u2024\u2024", "..\u2215", "..\uff0f", "\u202e..", "\xe9", "\ud800"),
    *("~", "~root", "$HOME", "C:", "C:\\", "\\\\host\\share", "//host", "file:", "-rf", "`id`"),
    *(".git", ".incoming", "con", "NUL", "aux.txt", "@.json", "x@.json", "$(id)", "a;b", "a&b"),
    *("a:b", "a|b", "a*", "a?b", "a#b", "<x>", '"', "'"),
]
TARGETS = ["etc/passwd", "secret", "files-sibling/secret", "a/b", "x"]


def hostile(count: int) -> Iterator[str]:
    """Yield keys nobody should be able to use."""
    chance = random.Random(5)  # noqa: S311 - the same ones each time
    for step in STEPS:
        yield from (
            step,
            f"{step}/x",
            f"a/{step}",
            f"/{step}",
            f"a/{step}/../x",
            quote(step, errors="surrogatepass") + "/..",
        )
    yield from (
        "/etc/passwd",
        "a//b",
        "/a",
        "a/",
        "a/b/",
        "x" * (LONGEST_NAME + 1),
        "a/" * 500 + "a",
    )
    for _ in range(count):
        steps = chance.choices(STEPS, k=chance.randint(1, 6))
        key = chance.choice(["/", "\\", "//", "/./"]).join([*steps, chance.choice(TARGETS)])
        yield chance.choice(
            [
                key,
                f"/{key}",
                quote(key, safe="", errors="surrogatepass"),
                f"a/{key}",
                key + "\0.png",
            ]
        )


async def test_five_thousand_hostile_keys_escape_nowhere(
    storage: FileStorage, place: str, tmp_path: Path
) -> None:
    """Each is refused before a driver sees it, but for those that quoting made plain names of."""
    for name in ("secret", "files-sibling/secret"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("secret", encoding="utf-8")
    before = contents(tmp_path)
    refused = 0
    for key in hostile(5000):
        if is_key(key):
            continue
        for use in (storage.head, storage.get, storage.delete, storage.list, storage.signed_url):
            if use == storage.list and (not key.strip("/") or is_key(key[:-1])):
                continue
            with pytest.raises(InvalidKeyError):
                await use(key)
        with pytest.raises(InvalidKeyError):
            await storage.put(key, b"escaped")
        with pytest.raises(InvalidKeyError):
            await storage.copy("a", key)
        refused += 1
    assert refused > 5000, place
    assert (await storage.list()).files == ()
    found = contents(tmp_path)
    assert {path: found.pop(path, b"") for path in before} == before
    assert not [path for path in found if ".incoming" not in path.parts]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_a_signature_does_not_help_a_hostile_key(client: AsyncClient) -> None:
    """Were somebody able to have one signed, the key is still looked at."""
    signer = UrlSigner([DEVELOPMENT_SECRET.encode()])
    for key in [
        "../secret",
        "a/../../secret",
        "/etc/passwd",
        "a\\b",
        "x@.json",
        ".incoming/lock-1",
    ]:
        url = signer.sign(Grant(method="GET", key=key, expires=1 << 40))
        answer = await client.get(url.replace("..", "%2e%2e"))
        assert answer.status_code in {400, 403, 404}, key


@pytest.mark.parametrize(
    "key", ["a", "avatars/0190/face.webp", "A_b-c+d=e,f", "a.tar.gz", "_", "1", "a" * LONGEST_NAME]
)
def test_plain_keys_are_accepted(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize(
    "key",
    ["", "a.", "a./b", "-a", ".a", "+", "a b", "lpt1", "a/COM3.txt", "a" * 201, "a/" * 401 + "a"],
)
def test_what_one_of_the_clouds_or_disks_refuses_is_refused(key: str) -> None:
    assert len("a/" * 401) > LONGEST_KEY
    with pytest.raises(InvalidKeyError):
        check_key(key)


def test_keys_are_joined_of_names() -> None:
    user = UUID(int=7)
    assert file_key("avatars", user, 3, "a.webp") == f"avatars/{user}/3/a.webp"
    for part in ("a/b", "..", "", "../x"):
        with pytest.raises(InvalidKeyError):
            file_key("avatars", part)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Urlaub Köln (3).JPG", "Urlaub-Koln-3-.JPG"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\evil.exe", "evil.exe"),
        ("日本.png", "png"),
        ("", "file"),
        (None, "file"),
        ("...", "file"),
        ("con", "file-con"),
        ("a" * 500 + ".tar.gz", "a" * 100 + ".gz"),
        ("x\0y\r\n.png", "x-y-.png"),
    ],
)
def test_a_file_name_of_somebody_becomes_a_name(given: str | None, name: str) -> None:
    assert safe_name(given) == name
    assert check_key(safe_name(given))
