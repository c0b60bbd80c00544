"""How a line looks: JSON for machines, text for people."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pythonjsonlogger.orjson import OrjsonFormatter

from app.infrastructure.logger.redaction import redact

if TYPE_CHECKING:
    from loguru import Message, Record

LEVEL_NAMES = {5: "TRACE", 25: "SUCCESS"}
"""Loguru's levels that the standard library has no name for."""
COLOURS = {
    "TRACE": 36,
    "DEBUG": 34,
    "INFO": 32,
    "SUCCESS": 32,
    "WARNING": 33,
    "ERROR": 31,
    "CRITICAL": 35,
}
GREY = 90
HIDDEN = {"trace_id", "span_id", "client_address", "user_agent", "user_id", "role"}
"""Context that would crowd the console; the trace is shown in short."""


class JsonFormatter(OrjsonFormatter):
    """One flat object a line: what was bound stands beside the message.

    A bound field can't replace `timestamp`, `level`, `logger`, `message` or `exception`: it is
    written with an underscore after its name.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for a record that came through loguru."""
        when = datetime.fromtimestamp(record.created, UTC)
        data: dict[str, Any] = {
            "timestamp": f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z",
            "level": LEVEL_NAMES.get(record.levelno, record.levelname),
            "logger": record.name,
            "message": record.msg,
        }
        if record.exc_info and record.exc_info[0]:
            data["exception"] = exception_text(*record.exc_info)
        for name, value in getattr(record, "extra", {}).items():
            data[f"{name}_" if name in data else name] = value
        return self.jsonify_log_record(data)


def exception_text(kind: Any, value: Any, trace: Any) -> str:
    """Return the traceback with secrets masked; it never shows variables."""
    return redact("".join(traceback.format_exception(kind, value, trace)).rstrip())


class ConsoleSink:
    """Writes text lines to standard output, in colour on a terminal."""

    def __call__(self, message: Message) -> None:
        """Write one line; a traceback follows, indented, so that it can't pass for a line."""
        stream = sys.stdout
        text = render(message.record, colour=stream.isatty())
        stream.write(text)
        stream.flush()


def render(record: Record, *, colour: bool) -> str:
    """Return the text of a record."""
    level, extra = record["level"].name, record["extra"]
    trace = str(extra.get("trace_id", ""))[:8]
    bound = " ".join(f"{k}={v!r}" for k, v in extra.items() if k not in HIDDEN)
    head = f"{record['time']:HH:mm:ss.SSS} "
    label = f"{level:<8}"
    tail = f"  {bound}" if bound else ""
    origin = f" {trace:<8} {record['name']}: "
    if colour:
        head = f"\033[{GREY}m{head}\033[0m"
        label = f"\033[{COLOURS.get(level, 0)}m{label}\033[0m"
        origin = f"\033[{GREY}m{origin}\033[0m"
        tail = f"\033[{GREY}m{tail}\033[0m" if tail else ""
    lines = [f"{head}{label}{origin}{record['message']}{tail}"]
    exception = record["exception"]
    if exception is not None and exception.type is not None:
        text = exception_text(exception.type, exception.value, exception.traceback)
        lines += [f"    {line}" for line in text.splitlines()]
    return "\n".join(lines) + "\n"
