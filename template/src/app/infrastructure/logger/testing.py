"""Fixtures for tests that look at the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from loguru import logger

from app.infrastructure.logger.formats import exception_text
from app.infrastructure.logger.setup import configure_logging

if TYPE_CHECKING:
    from loguru import Message

LogLines = list[dict[str, Any]]


@pytest.fixture
def log_lines() -> Iterator[LogLines]:
    """What is logged during the test: level, logger, message, exception and all bound fields."""
    configure_logging()
    lines: LogLines = []

    def keep(message: Message) -> None:
        record = message.record
        line = {"level": record["level"].name, "logger": record["name"], **record["extra"]}
        line["message"] = record["message"]
        if record["exception"]:
            line["exception"] = exception_text(*record["exception"])
        lines.append(line)

    sink = logger.add(keep, level=0, format="{message}")
    yield lines
    logger.remove(sink)
