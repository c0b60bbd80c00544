"""An error class carries its status, problem type and default sentence."""

from __future__ import annotations

from app.core.errors import AppError, NotFoundError, PreconditionFailedError


def test_the_docstring_is_the_default_detail() -> None:
    assert NotFoundError().detail == "There is no such thing here."
    assert str(NotFoundError("No user 7.")) == "No user 7."


def test_the_problem_type_follows_from_the_class_name() -> None:
    assert PreconditionFailedError.problem_type() == "precondition-failed"
    assert PreconditionFailedError.title() == "Precondition failed"


def test_extensions_and_headers_are_kept() -> None:
    error = AppError("No.", headers={"Retry-After": "3"}, limit=50)

    assert error.headers == {"Retry-After": "3"}
    assert error.extensions == {"limit": 50}
