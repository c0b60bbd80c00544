"""One log for the process: formats, file, levels, and everything routed into it."""

from __future__ import annotations

import json
import logging
import logging.config
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loguru import logger
from uvicorn.config import LOGGING_CONFIG

from app.core.errors import ConfigurationError
from app.core.settings import load_settings
from app.infrastructure.logger import configure_logging, set_level
from app.infrastructure.logger.formats import Console, wants_colour
from app.infrastructure.logger.intercept import Intercept
from app.infrastructure.logger.levels import levels
from app.infrastructure.logger.module import module
from app.infrastructure.logger.outputs import LogFile, StandardOutput
from app.infrastructure.logger.setup import pipeline
from app.infrastructure.logger.testing import LogLines
from tests.infrastructure.logger.conftest import Configure, Written

Objects = Callable[[], list[dict[str, Any]]]
FORGED = "real\r\n2026-01-01 00:00:00 INFO forged\x1b[2K\u2028{}"


def fail(text: str) -> None:
    raise ValueError(text)


def log_failure(text: str) -> None:
    try:
        fail(text)
    except ValueError:
        logger.exception("failed")


def named(name: str) -> Any:
    return logger.patch(lambda record: record.update({"name": name}))


@pytest.mark.parametrize(
    ("environment", "chosen", "is_json"),
    [
        ("development", "auto", False),
        ("test", "auto", False),
        ("staging", "auto", True),
        ("production", "auto", True),
        ("production", "console", False),
        ("development", "json", True),
    ],
)
def test_machines_get_json_where_the_service_is_deployed(
    configure: Configure, written: Written, environment: str, chosen: str, *, is_json: bool
) -> None:
    configure(APP_ENV=environment, LOG_FORMAT=chosen)
    logger.info("hello")

    (line,) = written()
    assert line.startswith("{") is is_json
    assert "hello" in line


def test_json_is_flat_and_its_own_fields_can_not_be_replaced(
    configure: Configure, objects: Objects
) -> None:
    configure(LOG_FORMAT="json")
    logger.bind(order=7, level="x", message="y", user_id="forged", **{"a\nb": "c\nd"}).info("hi")

    (line,) = objects()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "INFO",
        "logger": __name__,
        "message": "hi",
        "order": 7,
        "level_": "x",
        "message_": "y",
        "user_id_": "forged",
        "a\\nb": "c\\nd",
    }


@pytest.mark.parametrize("form", ["json", "console"])
def test_input_can_not_forge_a_line(configure: Configure, written: Written, form: str) -> None:
    configure(LOG_FORMAT=form)
    logger.info(FORGED, 1)
    logger.bind(**{FORGED: FORGED}).info("bound")
    logging.getLogger(FORGED).warning("%s", FORGED)

    lines = written()
    assert len(lines) == 3
    assert all(line == "".join(line.splitlines()) for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_a_traceback_is_indented_for_people_and_one_field_for_machines(
    configure: Configure, written: Written, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "app.log"
    configure(LOG_FORMAT="console", LOG_FILE=path)
    log_failure("password=hunter2\n2026 forged \x1b[2K")

    head, *trace = written()
    (line,) = [json.loads(text) for text in path.read_text().splitlines()]
    assert "failed" in head
    assert all(text.startswith("    ") for text in trace)
    assert trace[-2:] == ["    ValueError: password=***", r"    2026 forged \x1b[2K"]
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].count("Traceback") == 1
    assert "hunter2" not in line["exception"] + "".join(trace)


def test_the_file_is_rotated_and_so_many_are_kept(configure: Configure, tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    configure(LOG_FILE=path, LOG_FILE_SIZE=1000, LOG_FILE_COUNT=2)
    for number in range(50):
        logger.info("line number {}", number)

    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["app.log", "app.log.1", "app.log.2"]
    assert all(0 < file.stat().st_size <= 1000 for file in files)
    assert json.loads(path.read_text().splitlines()[-1])["message"] == "line number 49"


def test_a_file_that_can_not_be_written_is_refused(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match="LOG_FILE"):
        configure(LOG_FILE=tmp_path / "file" / "app.log")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LOG_LEVEL", "LOUD"),
        ("LOG_LEVELS", "app=LOUD"),
        ("LOG_LEVELS", "app"),
        ("LOG_FORMAT", "xml"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
    ],
)
def test_bad_settings_are_refused_by_name(configure: Configure, variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        configure(**{variable: value})


def test_production_does_not_trust_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    def weak(networks: str) -> list[str]:
        monkeypatch.setenv("TRUSTED_PROXIES", networks)
        return [weakness.variable for weakness in load_settings([module]).weaknesses()]

    assert weak("10.0.0.0/8, fd00::/8") == []
    assert weak("10.0.0.0/8, ::/0") == ["TRUSTED_PROXIES"]


def test_configuring_again_changes_nothing(configure: Configure, written: Written) -> None:
    configure(LOG_LEVELS="some.part=DEBUG")
    set_level("other.part", "ERROR")
    before = pipeline.outputs
    configure_logging()
    named("some.part").debug("once")
    named("other.part").warning("never")

    assert pipeline.outputs is before
    assert len(written()) == 1


def test_levels_come_from_the_longest_prefix(configure: Configure, log_lines: LogLines) -> None:
    configure(LOG_LEVEL="WARNING", LOG_LEVELS="shop=INFO,shop.cart=TRACE")
    for name in ("other", "shop", "shop.cart", "shop.cart.price", "shopping"):
        for level in ("TRACE", "INFO", "WARNING"):
            named(name).log(level, "{}", name)

    seen = [(line["logger"], line["level"]) for line in log_lines]
    assert [seen.count((name, "TRACE")) for name in ("other", "shop", "shop.cart")] == [0, 0, 1]
    assert ("shop.cart.price", "TRACE") in seen
    assert [level for name, level in seen if name == "shop"] == ["INFO", "WARNING"]
    assert [level for name, level in seen if name == "shopping"] == ["WARNING"]


def test_a_level_changes_while_the_service_runs(log_lines: LogLines) -> None:
    source, standard = named("shop.cart"), logging.getLogger("shop.cart")
    source.debug("hidden")
    standard.debug("hidden")
    set_level("shop", "debug")
    source.debug("loguru")
    standard.debug("standard")
    set_level("shop", "ERROR")
    source.info("hidden")
    standard.info("hidden")

    assert [line["message"] for line in log_lines] == ["loguru", "standard"]
    assert not standard.isEnabledFor(logging.INFO)


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'LOUD' is no log level"):
        set_level("app", "LOUD")


def test_a_level_that_is_taken_back_is_gone_from_the_standard_library_too(
    configure: Configure,
) -> None:
    configure(LOG_LEVELS="shop=DEBUG")
    assert logging.getLogger("shop").isEnabledFor(logging.DEBUG)
    configure(LOG_LEVELS="")

    assert not logging.getLogger("shop").isEnabledFor(logging.DEBUG)
    assert levels.of("shop") == logging.INFO


def test_standard_logging_keeps_its_names_levels_and_traces(log_lines: LogLines) -> None:
    source = logging.getLogger("some.library")
    source.info("count %d, {braces}", 3)
    source.log(35, "between")
    try:
        fail("token=abc")
    except ValueError:
        source.exception("failed")

    first, between, failed = log_lines
    assert (first["logger"], first["level"]) == ("some.library", "INFO")
    assert first["message"] == "count 3, {braces}"
    assert between["level"] == "Level 35"
    assert failed["exception"].endswith("ValueError: token=***")


def test_a_wrong_call_of_a_library_harms_nobody(
    log_lines: LogLines, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = logging.LogRecord("x", logging.WARNING, "x.py", 1, "%d hunter2", ("no number",), None)
    Intercept().handle(wrong)

    assert log_lines == []
    assert capsys.readouterr().err == "A log line is lost: TypeError\n"


def test_what_can_not_be_written_harms_nobody_and_shows_nothing(
    configure: Configure, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        encoding = "utf-8"

        def write(self, text: str) -> None:
            raise OSError(28, text)

        def isatty(self) -> bool:
            return False

    configure(LOG_FORMAT="json")
    with monkeypatch.context() as changes:
        changes.setattr(sys, "stdout", Full())
        logger.info("a secret thing")
    logger.info("after")

    out, err = capsys.readouterr()
    assert err == "A log line is lost: OSError\n"
    assert json.loads(out)["message"] == "after"


def test_a_closed_file_harms_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = LogFile(lambda line: line["message"], tmp_path / "app.log", size=10, count=1)
    file.write({"message": "first"})
    (tmp_path / "app.log.1").mkdir()
    file.write({"message": "too long for the file"})
    file.close()

    assert capsys.readouterr().err.startswith("A log line is lost: ")


def test_a_terminal_without_unicode_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ascii:
        text = ""

        def write(self, text: str) -> None:
            text.encode("ascii")
            self.text += text

        def flush(self) -> None:
            """Nothing is kept back."""

    stream = Ascii()
    monkeypatch.setattr(sys, "stdout", stream)
    StandardOutput(lambda line: line["message"]).write({"message": "Zoë 日本"})

    assert stream.text == "Zo\\xeb \\u65e5\\u672c\n"


def test_an_exception_that_can_not_be_shown_is_logged_all_the_same(log_lines: LogLines) -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    logger.opt(exception=OddError()).error("odd")

    assert "OddError: <exception str() failed>" in log_lines[0]["exception"]


def test_variables_are_never_shown(log_lines: LogLines) -> None:
    def work(harmless_name: str) -> None:
        logger.debug(harmless_name)
        message = "no"
        raise ValueError(message)

    try:
        work("the value of a variable")
    except ValueError:
        logger.exception("failed")

    assert "the value of a variable" not in str(log_lines).replace(
        'work("the value of a variable")', ""
    )


def test_a_patch_of_one_call_is_made_safe_too(log_lines: LogLines) -> None:
    def add(record: Any) -> None:
        record["extra"]["password"] = "hunter2"
        record["message"] += "\ntoken=hunter2"

    logger.patch(add).info("hello")

    assert (log_lines[0]["message"], log_lines[0]["password"]) == ("hello\\ntoken=***", "***")


def test_uvicorn_writes_through_us_and_its_access_log_is_off(
    configure: Configure, written: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(LOG_FORMAT="json")
    logging.config.dictConfig({**LOGGING_CONFIG, "disable_existing_loggers": False})
    configure_logging()
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("uvicorn.access").info("GET /")

    (line,) = written()
    assert json.loads(line)["message"] == "Started server process"
    assert capsys.readouterr().err == ""


def test_warnings_and_threads_are_logged(
    configure: Configure, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    logging.captureWarnings(capture=False)
    configure(LOG_FORMAT="json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", stacklevel=1)
        logging.captureWarnings(capture=False)
    thread = threading.Thread(target=fail, args=("token=abc",), name="helper")
    thread.start()
    thread.join()

    warned, failed = log_lines
    assert warned["logger"] == "py.warnings"
    assert "old ways" in warned["message"]
    assert failed["message"] == "Unhandled ValueError in helper"
    assert failed["exception"].endswith("ValueError: token=***")


def test_colours_are_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    line = {"timestamp": "2026-01-01T12:00:00.000Z", "level": "ERROR", "logger": "app",
            "message": "hello", "trace_id": "0123456789abcdef", "order": "a b"}  # fmt: skip

    assert Console(colour=False)(line) == "12:00:00.000 ERROR    01234567 app: hello  order='a b'"
    assert "\033[31m ERROR   " in Console(colour=True)(line)
    assert wants_colour(terminal=True)
    assert not wants_colour(terminal=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(terminal=True)
