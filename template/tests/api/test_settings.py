"""What the settings of the API accept and what they call weak."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.api.settings import ApiSettings


def settings(**values: object) -> ApiSettings:
    return ApiSettings.model_validate(values)


def weak(**values: object) -> list[str]:
    return [weakness.variable for weakness in settings(**values).weaknesses()]


def test_origins_are_separated_by_commas() -> None:
    origins = settings(cors_origins="https://a.example, http://b:8080").cors_origins

    assert origins == ("https://a.example", "http://b:8080")


@pytest.mark.parametrize("origin", ["a.example", "https://a.example/", "https://a.example/x", ""])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ValidationError, match=r"https://shop\.example\.com"):
        settings(cors_origins=origin)


def test_credentials_for_everybody_are_refused() -> None:
    with pytest.raises(ValidationError, match="can't be \\*"):
        settings(cors_origins="*", cors_credentials=True)


def test_a_delay_that_eats_the_grace_is_refused() -> None:
    with pytest.raises(ValidationError, match="less than SHUTDOWN_GRACE"):
        settings(shutdown_delay=30)


def test_open_docs_and_any_origin_are_weak() -> None:
    assert weak(cors_origins="*") == ["CORS_ORIGINS", "DOCS_ENABLED"]
    assert weak(docs_password="short") == ["DOCS_PASSWORD"]
    assert weak(docs_enabled=False) == []
    assert weak(docs_password="long enough to guess at") == []
