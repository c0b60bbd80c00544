"""Configure loguru, and route everything else into it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from loguru import logger

from app.core.errors import ConfigurationError
from app.core.module import Module
from app.core.settings import AppSettings, SettingsBundle, load_settings
from app.infrastructure.logger.formats import Console, to_json, wants_colour
from app.infrastructure.logger.intercept import route_everything
from app.infrastructure.logger.levels import DEFAULT, level_number, levels
from app.infrastructure.logger.outputs import LogFile, Output, Pipeline, StandardOutput
from app.infrastructure.logger.secrets import register_settings
from app.infrastructure.logger.settings import LogFormat, LoggerSettings

if TYPE_CHECKING:
    from loguru import Record

QUIET = {
    "asyncio": "WARNING",
    "httpx2": "WARNING",
    "uvicorn.access": "CRITICAL",
    "watchfiles": "WARNING",
}
"""Other libraries' loggers that say what we say better, or what nobody asked for."""

pipeline = Pipeline()


class _State:
    """What this process's log is set up with."""

    configured: tuple[LoggerSettings, AppSettings] | None = None
    sink: int | None = None
    lowest: int | None = None


def configure_logging(settings: SettingsBundle | None = None) -> None:
    """Set up logging for this process. With the settings it has already, nothing changes.

    Levels set by `set_level` stay too. Every secret of the settings is masked from now on.

    Args:
        settings: read settings. Without them the logger's own are read from the environment:
            commands call it so before anything else.

    Raises:
        ConfigurationError: settings that can't be used.
    """
    if settings is None:
        own = Module(name="logger", summary="Its settings alone", settings=LoggerSettings)
        settings = load_settings((own,))
    register_settings(settings)
    chosen = (settings.get(LoggerSettings), settings.get(AppSettings))
    if _State.configured != chosen:
        pipeline.replace(*_outputs(*chosen))
        _State.configured = chosen
        levels.on_change = _install
        wanted = {**QUIET, **chosen[0].log_levels, DEFAULT: chosen[0].log_level}
        levels.replace({name: level_number(level) for name, level in wanted.items()})
    # Each time: a server may have installed handlers of its own since.
    route_everything()


def _outputs(settings: LoggerSettings, app: AppSettings) -> list[Output]:
    as_json = settings.log_format is LogFormat.JSON or (
        settings.log_format is LogFormat.AUTO and app.app_env.is_deployed
    )
    console = Console(colour=wants_colour(terminal=sys.stdout.isatty()))
    output = StandardOutput(to_json if as_json else console)
    path = settings.log_file
    if path is None:
        return [output]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        size, count = settings.log_file_size, settings.log_file_count
        return [output, LogFile(to_json, path, size=size, count=count)]
    except OSError as error:
        message = f"LOG_FILE: {path} can't be written: {error.strerror}"
        raise ConfigurationError(message) from error


def is_only_sink() -> bool:
    """Tell whether nothing but our own sink would get a record."""
    core = getattr(logger, "_core", None)
    return core is not None and core.handlers.keys() == {_State.sink} and core.patcher is None


def _install() -> None:
    """Give loguru the sink. It fixes a sink's level when it is added, so a lower one needs a new.

    The new one comes before the old one goes: a line may be written twice, none is lost.
    """
    if _State.lowest == levels.lowest:
        return
    former, _State.lowest = _State.sink, levels.lowest
    if former is None:
        # Loguru's own default, which would show variables in tracebacks.
        logger.remove()
    _State.sink = logger.add(
        pipeline,
        level=levels.lowest,
        filter=_is_wanted,
        # Anything else would make loguru append the traceback, which the formats write themselves.
        format=_bare,
        backtrace=False,
        diagnose=False,
        # It would print the record as it is; the pipeline catches what goes wrong.
        catch=False,
    )
    if former is not None:
        logger.remove(former)


def _bare(_record: Record) -> str:
    return "{message}"


def _is_wanted(record: Record) -> bool:
    return record["level"].no >= levels.of(record["name"] or "")
