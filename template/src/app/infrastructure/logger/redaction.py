"""Keep secrets out of the log, and lines whole.

Two ways: by key (whatever is called password, token, …) and by value (what looks like a credential,
and every secret of the settings). One search per text decides whether there is anything to do.
Every repetition is bounded or can't be retried: no input makes a rule take quadratic time.
"""

from __future__ import annotations

import re
from base64 import b64decode
from functools import lru_cache

MASK = "***"

_WORDS = (
    r"passw(?:or)?d|passphrase|secret|token|authorization|cookie|credential|signature"
    r"|(?:api|access|private|signing|encryption|master)[_-]?key|session[_-]?id"
    r"|(?<![a-z0-9])(?:pwd|pass|dsn|jwt|otp|csrf|xsrf|sid)(?![a-z0-9])"
)
_KEY = re.compile(_WORDS, re.IGNORECASE)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TRIGGER = re.compile(
    ":|=|',|\",|eyj|bearer|basic|-----b|akia|asia|ghp_|gho_|ghu_|ghs_|ghr_|github_pat_|glpat-|xox"
    "|sk_|rk_|sk-|aiza"
)
"""What any rule needs at least, in lower case: literals only, which `re` finds fastest."""

_SEPARATOR = r"""[\w-]{0,40}\\{0,3}["']?\s{0,4}(?:=>|[:=])\s{0,4}"""
_QUOTED = (
    r"""b?"(?:[^"\\]|\\.)*"?|b?'(?:[^'\\]|\\.)*'?"""
    r"""|\\+"(?:[^"\\]|\\(?!"))*\\*"?"""  # JSON inside of a string of JSON
)
_BARE = r"""\{[^{}]*\}?|\[[^\[\]]*\]?|(?:[^\s&"',;)}\]]|[,;)}\]](?=[^\s"',;)}\]]))+"""
"""A flat list or object; or up to a space or `&`: punctuation counts unless it ends the word."""
_PRIVATE_KEY = (
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----))*"
    r"(?:-----END [A-Z0-9 ]{0,60}-----)?"
)
_ISSUED = (
    r"(?<!\w)(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|xox[a-z]-[\w-]{10,}|[sr]k_(?:live|test)_\w{10,}|sk-[\w-]{20,}|AIza[\w-]{30,})"
)
"""Keys whose issuers gave them a form: AWS, GitHub, GitLab, Slack, Stripe, OpenAI, Google."""


def _basic(match: re.Match[str]) -> str:
    """Mask `Basic` credentials (RFC 7617), not the word before another."""
    text = match[2]
    try:
        plain = b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return match[0]
    return f"{match[1]}{MASK}" if b":" in plain else match[0]


_WORD_HINTS = (
    "pass", "secret", "token", "authorization", "cookie", "credential", "signature", "key",
    "session", "pwd", "dsn", "jwt", "otp", "csrf", "xsrf", "sid",
)  # fmt: skip
_ISSUED_HINTS = ("akia", "asia", "gh", "glpat-", "xox", "k_live_", "k_test_", "sk-", "aiza")
_RULES = tuple(
    (hints, re.compile(pattern, re.IGNORECASE | re.DOTALL), replacement)
    for hints, pattern, replacement in (
        # A private key: its body holds single hyphens at most.
        (("-----begin",), _PRIVATE_KEY, MASK),
        # Headers whose whole value is secret.
        (
            ("cookie", "authorization"),
            rf"((?:cookie|authorization){_SEPARATOR})(?:{_QUOTED}|[^\r\n]+)",
            rf"\1{MASK}",
        ),
        (_WORD_HINTS, rf"((?:{_WORDS}){_SEPARATOR})(?:{_QUOTED}|{_BARE})", rf"\1{MASK}"),
        # A name and its value as a pair: `(b'x-api-key', b'…')`.
        (
            ("',", '",'),
            rf"((?:{_WORDS})[\w-]{{0,40}}[\"']\s{{0,2}},\s{{0,2}})(?:{_QUOTED})",
            rf"\1{MASK}",
        ),
        (
            ("?", "&"),
            r"([?&](?:code|key|sig|state|auth|x-amz-[\w-]{1,40})=)[^&\s\"'#]+",
            rf"\1{MASK}",
        ),
        # The password of a URL may hold any character but a space; a port is none.
        (
            ("://",),
            r"(://[^\s/@:]{0,256}:)(?!\d{1,5}[/?#])[^\s\"]{1,1024}@",
            rf"\1{MASK}@",
        ),
        (("://",), r"(://)[^\s/@:\"]{16,256}@", rf"\1{MASK}@"),
        (("bearer",), r"\b(bearer\s{1,4})(?!token\b)[\w.~+/=-]+", rf"\1{MASK}"),
        (("basic",), r"\b(basic\s{1,4})([a-z0-9+/_-]{4,4096})={0,2}", _basic),
        (("eyj",), r"(?<![\w-])eyJ[\w-]{5,}(?:\.[\w-]*){1,4}", MASK),
        (_ISSUED_HINTS, _ISSUED, MASK),
        # Positional parameters of a statement, as a database error shows them.
        (("[parameters: ",), r"(\[parameters: )[^\r\n]+", rf"\1{MASK}]"),
    )
)
"""What must occur in the lower-cased text, what to look for, and what to write instead."""
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u2028\u2029"  # break lines in some viewers
    "\u200e\u200f\u202a-\u202e\u2066-\u2069"  # change the direction of text: hide what is there
    "\ud800-\udfff]"  # halves of surrogate pairs: UTF-8 can't express them
)


class KnownSecrets:
    """Values that are masked wherever they occur."""

    def __init__(self) -> None:
        """Know none yet."""
        self.values: frozenset[str] = frozenset()
        self.pattern: re.Pattern[str] | None = None

    def add(self, values: frozenset[str]) -> None:
        """Know these too."""
        if values <= self.values:
            return
        self.values |= values
        longest_first = sorted(self.values, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, longest_first)))
        clean_word.cache_clear()


known = KnownSecrets()


def redact(text: str) -> str:
    """Return the text with secrets masked."""
    if known.pattern is not None:
        text = known.pattern.sub(MASK, text)
    lowered = text.lower()
    if _TRIGGER.search(lowered) is None:
        return text
    for hints, pattern, replacement in _RULES:
        for hint in hints:
            if hint in lowered:
                text = pattern.sub(replacement, text)
                break
    return text


def one_line(text: str) -> str:
    """Return the text with control characters spelled out: input can't forge a line."""
    if text.isprintable():
        return text
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def clean_text(text: str) -> str:
    """Return text that may be logged: no secret, one line."""
    return one_line(redact(text))


@lru_cache(maxsize=2048)
def clean_word(text: str) -> str:
    """Do the same for short text that comes again: a route, a key, a user agent."""
    return clean_text(text)


@lru_cache(maxsize=2048)
def is_secret_key(key: str) -> bool:
    """Tell whether a value under this key must not be shown: `apiKey`, `X-Api-Key`, `db_pwd`."""
    return _KEY.search(_HUMP.sub("_", key)) is not None
