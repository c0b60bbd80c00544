"""Route what does not use loguru into it: the standard library's logging, warnings, threads."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING

from loguru import logger

from app.infrastructure.logger.outputs import complain

if TYPE_CHECKING:
    from loguru import Record

KNOWN = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})


class Intercept(logging.Handler):
    """Hands the standard library's records to loguru, under their own names."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on. As with logging itself, a wrong call harms nobody else."""
        level: str | int = record.levelname if record.levelname in KNOWN else record.levelno
        source = logger.opt(exception=record.exc_info).patch(partial(_take_origin, record))
        try:
            source.log(level, "{}", record.getMessage())
        except Exception as error:  # noqa: BLE001 - a message that does not fit its arguments
            complain(error)


def _take_origin(source: logging.LogRecord, record: Record) -> None:
    record["name"] = source.name
    record["function"] = source.funcName
    record["line"] = source.lineno


def route_everything() -> None:
    """Make loguru the only way out of this process. May be called again."""
    root = logging.getLogger()
    _drop_streams(root)
    if not any(isinstance(handler, Intercept) for handler in root.handlers):
        root.addHandler(Intercept())
    for known in list(root.manager.loggerDict.values()):
        if isinstance(known, logging.Logger) and _drop_streams(known):
            known.propagate = True
    logging.captureWarnings(capture=True)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_thread


def _drop_streams(source: logging.Logger) -> bool:
    """Take away handlers that write to a stream; uvicorn's command line installs such."""
    # Only the plain class: those of test runners and of error trackers are classes of their own.
    dropped = [handler for handler in source.handlers if type(handler) is logging.StreamHandler]
    for handler in dropped:
        source.removeHandler(handler)
    return bool(dropped)


def _log_thread(caught: threading.ExceptHookArgs) -> None:
    """Log what ended a thread."""
    if caught.exc_type is SystemExit:
        return
    name = caught.thread.name if caught.thread else "a thread"
    logger.opt(exception=caught.exc_value).error(
        "Unhandled {} in {}", caught.exc_type.__name__, name
    )
