"""How a line looks: JSON for machines, text for people."""

from __future__ import annotations

import os
from collections.abc import Callable

from pythonjsonlogger.orjson import OrjsonFormatter

from app.infrastructure.logger.lines import BASE, CONTEXT, Line

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
HIDDEN = frozenset((*BASE, *CONTEXT, "method", "route", "status", "duration_ms"))
"""What stands elsewhere in a text line or would crowd it; the trace is shown in short."""
INDENT = "    "


to_json: Callable[[Line], str] = OrjsonFormatter().serialize_log_record
"""One flat object a line: what was bound stands beside the message."""


class Console:
    """A line of text; a traceback follows, indented, so that it can't pass for a line."""

    def __init__(self, *, colour: bool) -> None:
        """Write with or without colours."""
        self._colour = colour

    def __call__(self, line: Line) -> str:
        """Return the text of a line."""
        trace = str(line.get("trace_id", ""))[:8]
        bound = "".join(f" {k}={v!r}" for k, v in line.items() if k not in HIDDEN)
        parts = (
            (GREY, line["timestamp"][11:23]),
            (COLOURS.get(line["level"], 0), f" {line['level']:<8}"),
            (GREY, f" {trace:<8} {line['logger']}: "),
            (0, line["message"]),
            (GREY, f" {bound}" if bound else ""),
        )
        text = "".join(self._paint(colour, part) for colour, part in parts)
        trouble = line.get("exception")
        return f"{text}\n{_indent(trouble)}" if trouble else text

    def _paint(self, colour: int, text: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._colour and colour and text else text


def wants_colour(*, terminal: bool) -> bool:
    """Tell whether to colour the output: on a terminal, unless `NO_COLOR` is set (no-color.org)."""
    return terminal and not os.environ.get("NO_COLOR")


def _indent(text: str) -> str:
    return "\n".join(f"{INDENT}{line}" for line in text.split("\n"))
