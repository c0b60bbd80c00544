"""Where lines go. Loguru knows one sink, which makes each record safe once and passes it on.

The sink is a function, no `logging.Handler`: loguru would first make a `LogRecord` for that, 3 µs
a line, which nobody reads.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from app.infrastructure.logger.lines import Line, exception_text, make_line

if TYPE_CHECKING:
    from loguru import Message

Format = Callable[[Line], str]


class Output(Protocol):
    """Takes lines."""

    def write(self, line: Line) -> None:
        """Write one line; calls never overlap."""

    def close(self) -> None:
        """Be done."""


class Pipeline:
    """The only sink of loguru."""

    def __init__(self) -> None:
        """Write nowhere yet."""
        self.outputs: tuple[Output, ...] = ()
        self.listeners: list[Callable[[Line], None]] = []
        """Called with each line; tests look at them so."""
        self._lock = threading.RLock()

    def __call__(self, message: Message) -> None:
        """Write a record of loguru. A logger never raises into the code that logs."""
        record = message.record
        try:
            line = make_line(
                record["time"].timestamp(),
                record["level"].name,
                record["name"] or "",
                record["message"],
                record["extra"],
            )
            if (caught := record["exception"]) is not None and caught.type is not None:
                line["exception"] = exception_text(*caught)
        except Exception as error:  # noqa: BLE001 - a bug of ours, or an object that misbehaves
            complain(error)
            return
        self.publish(line)

    def publish(self, line: Line) -> None:
        """Write a line that is safe already."""
        with self._lock:
            for output in self.outputs:
                try:
                    output.write(line)
                except Exception as error:  # noqa: BLE001 - a full disk must not stop the service
                    complain(error)
            for listener in self.listeners:
                listener(line)

    def replace(self, *outputs: Output) -> None:
        """Write to these from now on, and close the former ones."""
        with self._lock:
            former, self.outputs = self.outputs, outputs
        for output in former:
            output.close()


class StandardOutput:
    """Writes to whatever standard output is at that moment."""

    def __init__(self, form: Format) -> None:
        """Write lines in that form."""
        self._form = form

    def write(self, line: Line) -> None:
        """See `Output.write`."""
        text = f"{self._form(line)}\n"
        stream = sys.stdout
        try:
            stream.write(text)
        except UnicodeEncodeError:  # a terminal that does not speak UTF-8
            stream.write(text.encode("ascii", "backslashreplace").decode())
        stream.flush()

    def close(self) -> None:
        """Leave standard output open: it belongs to the process."""


class LogFile:
    """Rotates by size. The file belongs to one process: two would rotate it under each other."""

    def __init__(self, form: Format, path: Path, *, size: int, count: int) -> None:
        """Open the file; `size` in bytes, `count` files are kept beside it.

        Raises:
            OSError: it can't be written.
        """
        self._handler = _Rotating(path, maxBytes=size, backupCount=count, encoding="utf-8")
        self._form = form

    def write(self, line: Line) -> None:
        """See `Output.write`."""
        self._handler.emit(logging.makeLogRecord({"msg": self._form(line)}))

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


class _Rotating(RotatingFileHandler):
    """The standard library's, which would print what it can't write."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's
        """Say only that a line is lost."""
        complain(sys.exc_info()[1])


def complain(error: BaseException | None) -> None:
    """Say on standard error that a line is lost, without its content: it may not be safe."""
    with contextlib.suppress(Exception):
        print(f"A log line is lost: {type(error).__name__}", file=sys.stderr)  # noqa: T201 - last resort
