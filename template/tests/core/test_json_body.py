"""What `parse_json` reads and what it refuses."""

from __future__ import annotations

import json
from json import JSONDecodeError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.json_body import parse_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('abc\\u0"'), inner),
)


@given(VALUES, st.booleans())
def test_it_reads_what_json_writes(value: object, escaped: bool) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=escaped).encode()) == value


@given(st.binary())
def test_any_bytes_are_parsed_or_refused_in_one_way(body: bytes) -> None:
    try:
        parse_json(body)
    except JSONDecodeError:
        return


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff", "UTF-8"),
        ('"ä"'.encode("utf-16"), "UTF-8"),
        (b"[NaN]", "NaN"),
        (b"-Infinity", "-Infinity"),
        (b"1e999", "too large"),
        (b"[" + b"1" * 5000 + b"]", "too long"),
        (b"[" * 100_000, "nested"),
        (rb'"\ud800"', "surrogate"),
        (rb'{"\udfff": 1}', "surrogate"),
        (rb'"a\u0000"', "U+0000"),
        (rb'"\\\u0000"', "U+0000"),
        (rb'{"\u0000": 1}', "U+0000"),
        (b'"\0"', "control character"),
        (b"", "Expecting value"),
    ],
)
def test_what_no_column_can_hold_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(JSONDecodeError, match=reason.replace("+", r"\+")):
        parse_json(body)


def test_backslashes_before_u0000_are_only_backslashes() -> None:
    assert parse_json(rb'"\\u0000"') == r"\u0000"


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert parse_json(rb'"\ud83d\ude00"') == "😀"
