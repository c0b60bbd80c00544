"""Where lines go. Loguru knows one sink, which makes each record safe once and passes it on."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from typing import Any

from app.infrastructure.logger.lines import Line, make_line


class Pipeline(logging.Handler):
    """The only sink of loguru."""

    def __init__(self) -> None:
        """Write nowhere yet."""
        super().__init__()
        self.outputs: tuple[logging.Handler, ...] = ()
        self.listeners: list[Callable[[Line], None]] = []
        """Called with each line; tests look at them so."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line everywhere. A logger never raises into the code that logs."""
        try:
            line = make_line(record)
        except Exception as error:  # noqa: BLE001 - a bug of ours, or an object that misbehaves
            complain(error)
            return
        record.line = line
        for output in self.outputs:
            output.emit(record)
        for listener in self.listeners:
            listener(line)

    def close(self) -> None:
        """Stay open: loguru closes a sink that is replaced, and this one is used again."""

    def replace(self, *outputs: logging.Handler) -> None:
        """Write to these from now on, and close the former ones."""
        former, self.outputs = self.outputs, outputs
        for output in former:
            output.close()


class StandardOutput(logging.StreamHandler[Any]):
    """Writes to whatever standard output is at that moment."""

    @property
    def stream(self) -> Any:
        """The stream."""
        return sys.stdout

    @stream.setter
    def stream(self, value: Any) -> None:
        """Ignore it: the stream is looked up at each line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text, in characters the stream can express."""
        text = super().format(record)
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        if text.isascii() or encoding.lower() in {"utf-8", "utf8"}:
            return text
        return text.encode(encoding, "backslashreplace").decode(encoding)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's
        """Say that a line is lost."""
        complain(sys.exc_info()[1])


class LogFile(RotatingFileHandler):
    """Rotates by size. The file belongs to one process: two would rotate it under each other."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's
        """Say that a line is lost."""
        complain(sys.exc_info()[1])


def complain(error: BaseException | None) -> None:
    """Say on standard error that a line is lost, without its content: it may not be safe."""
    with contextlib.suppress(Exception):
        print(f"A log line is lost: {type(error).__name__}", file=sys.stderr)  # noqa: T201 - last resort
