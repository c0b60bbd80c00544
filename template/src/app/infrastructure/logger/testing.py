"""Fixtures for tests that look at the log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.infrastructure.logger.levels import levels
from app.infrastructure.logger.lines import Line
from app.infrastructure.logger.setup import configure_logging, pipeline

LogLines = list[Line]


@pytest.fixture
def log_lines() -> Iterator[LogLines]:
    """What is logged during the test, each line as the JSON log has it.

    A line is a dict: level, logger, message, exception, the context and all bound fields. Levels
    changed with `set_level` are what they were again after the test.
    """
    configure_logging()
    lines: LogLines = []
    before = levels.by_name
    pipeline.listeners.append(lines.append)
    yield lines
    pipeline.listeners.remove(lines.append)
    levels.replace(before)
