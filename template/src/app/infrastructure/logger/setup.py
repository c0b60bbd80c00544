"""Configure loguru, and route everything else into it."""

from __future__ import annotations

import logging
import sys
import warnings
from functools import partial
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, Any

from loguru import logger

from app.core.settings import AppSettings, env_file
from app.infrastructure.logger import levels
from app.infrastructure.logger.context import current_context, fields
from app.infrastructure.logger.formats import ConsoleSink, JsonFormatter
from app.infrastructure.logger.redaction import clean, one_line, redact
from app.infrastructure.logger.settings import LogFormat, LoggerSettings

if TYPE_CHECKING:
    from loguru import Record

QUIET = {
    "alembic": "WARNING",
    "asyncio": "WARNING",
    "httpx2": "WARNING",
    "uvicorn.access": "CRITICAL",
    "watchfiles": "WARNING",
}
"""Other libraries' loggers that say what we say better, or what nobody asked for."""

_sinks: list[int] = []
_configured: tuple[LoggerSettings, AppSettings] | None = None


class StandardOutput(logging.StreamHandler[Any]):
    """Writes to whatever standard output is at that moment."""

    @property
    def stream(self) -> Any:
        """The stream."""
        return sys.stdout

    @stream.setter
    def stream(self, value: Any) -> None:
        """Ignore it: the stream is looked up at each line."""


class Intercept(logging.Handler):
    """Hands the standard library's records to loguru, under their own names."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        if record.levelno < levels.level_of(record.name):
            return
        level: str | int = record.levelname if record.levelname in KNOWN else record.levelno
        source = logger.opt(exception=record.exc_info).patch(partial(_take_origin, record))
        source.log(level, "{}", record.getMessage())


KNOWN = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}


def _take_origin(source: logging.LogRecord, record: Record) -> None:
    record["name"] = source.name
    record["function"] = source.funcName
    record["line"] = source.lineno


def configure_logging(
    settings: LoggerSettings | None = None, app: AppSettings | None = None
) -> None:
    """Set up logging for this process. May be called again, with the same or other settings.

    Without arguments the settings come from the environment: commands call it before anything else.
    """
    global _configured  # noqa: PLW0603 - a process has one log
    settings = settings or LoggerSettings(_env_file=env_file())
    app = app or AppSettings(_env_file=env_file())
    if _configured == (settings, app):
        return
    _configured = (settings, app)
    chosen = {name: levels.level_number(level) for name, level in QUIET.items()}
    chosen |= {name: levels.level_number(level) for name, level in settings.log_levels.items()}
    levels.on_change(_install)
    levels.replace_levels({**chosen, "": levels.level_number(settings.log_level)})


def _install() -> None:
    """Replace the sinks; loguru fixes a sink's level when it is added."""
    if _configured is None:
        return
    settings, app = _configured
    # The first time this removes loguru's own default sink; later only ours.
    if not _sinks:
        logger.remove()
    for sink in _sinks:
        logger.remove(sink)
    _sinks[:] = [_add(_output(settings, app))]
    if settings.log_file:
        settings.log_file.parent.mkdir(parents=True, exist_ok=True)
        file = RotatingFileHandler(
            settings.log_file,
            maxBytes=settings.log_file_size,
            backupCount=settings.log_file_count,
            encoding="utf-8",
        )
        _sinks.append(_add(_as_json(file)))
    logger.configure(patcher=_complete)
    logging.captureWarnings(capture=not sys.warnoptions and not _under_test())
    root = logging.getLogger()
    root.handlers = [h for h in root.handlers if not isinstance(h, Intercept) and _foreign(h)]
    root.addHandler(Intercept())
    root.setLevel(levels.lowest())


def _foreign(handler: logging.Handler) -> bool:
    """Tell whether a handler is a test runner's, to be left alone."""
    return type(handler).__module__.startswith("_pytest")


def _under_test() -> bool:
    return warnings.showwarning.__module__.startswith("_pytest")


def _output(settings: LoggerSettings, app: AppSettings) -> Any:
    wanted = settings.log_format
    if wanted is LogFormat.AUTO:
        wanted = LogFormat.JSON if app.app_env.is_deployed else LogFormat.CONSOLE
    return _as_json(StandardOutput()) if wanted is LogFormat.JSON else ConsoleSink()


def _as_json(handler: logging.Handler) -> logging.Handler:
    handler.setFormatter(JsonFormatter())
    return handler


def _add(sink: Any) -> int:
    return logger.add(
        sink,
        level=levels.lowest(),
        filter=_is_wanted,
        # Anything else would make loguru append the traceback, which the formats write themselves.
        format=_bare,
        backtrace=False,
        diagnose=False,
        catch=True,
    )


def _bare(_record: Record) -> str:
    return "{message}"


def _is_wanted(record: Record) -> bool:
    return record["level"].no >= levels.level_of(record["name"])


def _complete(record: Record) -> None:
    """Add the context; take out secrets and line breaks. Runs once per record, before the sinks."""
    record["message"] = one_line(redact(record["message"]))
    extra = {name: clean(name, value) for name, value in record["extra"].items()}
    record["extra"] = fields(current_context()) | extra
