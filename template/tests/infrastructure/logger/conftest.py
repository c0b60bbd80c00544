"""Set the log up as a test wants it, and afterwards as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.infrastructure.logger import configure_logging

Configure = Callable[..., None]
Written = Callable[[], list[str]]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Set the log up with these variables: `configure(LOG_FORMAT="json")`."""
    with monkeypatch.context() as changes:

        def call(**environment: object) -> None:
            for name, value in environment.items():
                changes.setenv(name, str(value))
            configure_logging()

        yield call
    configure_logging()


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Written:
    """The lines on standard output since the last call, split only where a terminal would."""
    return lambda: capsys.readouterr().out.removesuffix("\n").split("\n")


@pytest.fixture
def objects(written: Written) -> Callable[[], list[dict[str, Any]]]:
    """The JSON objects on standard output, one from each line."""
    return lambda: [json.loads(line) for line in written()]
