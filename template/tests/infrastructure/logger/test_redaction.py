"""What looks like a credential is masked; what does not stays as it is."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from app.infrastructure.logger import redaction
from app.infrastructure.logger.lines import clean
from app.infrastructure.logger.redaction import MASK, KnownSecrets, clean_text, redact
from app.infrastructure.logger.secrets import register_secret

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.s5VPl3Ty9lWQxG0B1x"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow+IBAA/KCAQ==\n-----END RSA PRIVATE KEY-----"
ENCRYPTED = KEY.replace("\nMII", "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMII")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=hunter2", f"password={MASK}"),
        ("PASSWORD: hunter2 next", f"PASSWORD: {MASK} next"),
        ("dsn host=db password=a,b;c dbname=x", f"dsn host=db password={MASK} dbname=x"),
        ("User(db_pwd='a b', name='x')", f"User(db_pwd={MASK}, name='x')"),
        ('{"password": "a\\"b c", "x": 1}', f'{{"password": {MASK}, "x": 1}}'),
        (r"{\"apiKey\": \"a b\", \"x\": 1}", rf"{{\"apiKey\": {MASK}, \"x\": 1}}"),
        ("{'x-api-key': b'abc'}", f"{{'x-api-key': {MASK}}}"),
        ("[(b'x-api-key', b'abc'), (b'a', b'b')]", f"[(b'x-api-key', {MASK}), (b'a', b'b')]"),
        ("Authorization: Digest u=x, r=y\r\nA: b", f"Authorization: {MASK}\r\nA: b"),
        ("Set-Cookie: sid=1; Path=/\nA: b", f"Set-Cookie: {MASK}\nA: b"),
        ("sent Bearer abc.def-1", f"sent Bearer {MASK}"),
        ("sent Basic dXNlcjpwYXNz", f"sent Basic {MASK}"),
        (f"got {JWT} again", f"got {MASK} again"),
        ("postgresql+asyncpg://me:s3/c@r?t@db:5432/x", f"postgresql+asyncpg://me:{MASK}@db:5432/x"),
        ("redis://:pw@cache", f"redis://:{MASK}@cache"),
        ("https://0123456789abcdef@git.example/x", f"https://{MASK}@git.example/x"),
        ("GET /cb?code=abc&page=2&token=z", f"GET /cb?code={MASK}&page=2&token={MASK}"),
        ("/f?X-Amz-Signature=ab12&x=1", f"/f?X-Amz-Signature={MASK}&x=1"),
        (f"read {KEY} done", f"read {MASK} done"),
        (f"read {ENCRYPTED} done", f"read {MASK} done"),
        ("id AKIAIOSFODNN7EXAMPLE", f"id {MASK}"),
        ("ghp_0123456789abcdefghij0123456789abcdef", MASK),
        ("error [parameters: ('joe', 'hunter2')]", f"error [parameters: {MASK}]"),
    ],
)
def test_credentials_are_masked(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "GET /users/{user_id} 200 1.2 ms",
        "basic authentication is off, see basic settings",
        "Bearer token missing",
        "http://proxy:8080/cb?mail=joe@example.org",
        "ssh://git@example.org/repo",
        "joe@example.org is known: 3 tries left",
        "passed=3 failed=0 author=joe",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "key",
    ["password", "userPassword", "db_pwd", "X-Api-Key", "accessToken", "Set-Cookie", "sentry_dsn",
     "client_secret", "Proxy-Authorization", "sessionId", "csrf", "apikey", "otp", "privateKey"],
)  # fmt: skip
def test_the_value_of_a_secret_key_is_masked_at_any_depth(key: str) -> None:
    assert clean(key, "x") == MASK
    assert clean("body", {"a": [{key: ["x", 1]}]}) == {"a": [{key: MASK}]}


@pytest.mark.parametrize(
    "key", ["name", "adoption", "wordsnake", "keyboard", "author", "passenger"]
)
def test_the_value_of_another_key_is_not(key: str) -> None:
    assert clean(key, "x") == "x"


def test_a_secret_of_pydantic_is_masked_under_any_key() -> None:
    assert clean("x", SecretStr("hunter2")) == MASK


def test_values_become_what_json_knows() -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError

    deep: dict[str, object] = {}
    deep["self"] = deep

    assert clean("n", 2**70) == str(2**70)
    assert clean("x", {"a": (1, None, True, 0.5, {"b"})}) == {"a": [1, None, True, 0.5, ["b"]]}
    assert clean("x", Odd()) == "<Odd that can't be shown>"
    assert "..." in str(clean("x", deep))
    assert clean("x", b'{"password": "hunter2"}') == f"b'{{\"password\": {MASK}}}'"


def test_control_characters_are_spelled_out() -> None:
    text = "a\r\nb\x1b[31m\x00\x85\u2028\u202e\ud800 c\td"

    assert clean_text(text) == r"a\r\nb\x1b[31m\x00\x85\u2028\u202e\ud800 c\td"
    assert clean_text("Zoë 日本 🙂") == "Zoë 日本 🙂"


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> KnownSecrets:
    """Registered secrets that are forgotten after the test."""
    fresh = KnownSecrets()
    monkeypatch.setattr(redaction, "known", fresh)
    monkeypatch.setattr("app.infrastructure.logger.secrets.known", fresh)
    return fresh


@pytest.mark.usefixtures("known")
def test_a_registered_value_is_masked_however_it_is_quoted() -> None:
    register_secret('ab"c/d\\e f')

    texts = [
        'x ab"c/d\\e f y',
        r"x ab\"c/d\\e f y",
        "x ab%22c%2Fd%5Ce%20f y",
        r"""x ab"c/d\\e f y""",
    ]

    assert [redact(text) for text in texts] == [f"x {MASK} y"] * 4


@pytest.mark.usefixtures("known")
def test_of_a_url_only_the_password_is_secret() -> None:
    register_secret("postgresql://me:p%40ssword@db/x redis://:other-one@cache")

    text = "db/x p%40ssword p@ssword other-one me"
    assert redact(text) == f"db/x {MASK} {MASK} {MASK} me"


def test_values_too_short_to_be_told_from_words_are_not_registered(known: KnownSecrets) -> None:
    register_secret("app")
    register_secret("embedded://")

    assert known.values == frozenset()
    assert redact("the app is embedded://") == "the app is embedded://"


@pytest.mark.usefixtures("known")
def test_a_value_registered_later_is_masked_in_what_was_seen_before() -> None:
    assert clean("x", "open sesame") == "open sesame"
    register_secret("open sesame")
    assert clean("x", "open sesame") == MASK
