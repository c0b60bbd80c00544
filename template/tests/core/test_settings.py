"""Settings are composed from the modules' classes, the environment and a dotenv file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from pydantic import Field, SecretStr

from app.core.errors import ConfigurationError
from app.core.module import Module
from app.core.settings import (
    AppSettings,
    Environment,
    ModuleSettings,
    Weakness,
    load_settings,
    require_strong,
)


class MailSettings(ModuleSettings):
    """Settings of a module made for these tests."""

    mail_port: int = Field(default=25, gt=0)
    mail_password: SecretStr = SecretStr("")

    def weaknesses(self) -> Iterable[Weakness]:
        if not self.mail_password.get_secret_value():
            yield Weakness("MAIL_PASSWORD", "it is empty", "MAIL_PASSWORD=<a long random string>")


class OtherMailSettings(ModuleSettings):
    """Claims a variable of `MailSettings`."""

    mail_port: int = 26


MAIL = Module(name="mail", summary="test", settings=MailSettings)


def test_defaults_hold_when_nothing_is_set() -> None:
    bundle = load_settings([MAIL])

    assert bundle.get(MailSettings).mail_port == 25
    assert bundle.get(AppSettings).app_env is Environment.TEST


def test_the_environment_wins_over_the_dotenv_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dotenv = tmp_path / "settings.env"
    dotenv.write_text("MAIL_PORT=1025\nMAIL_PASSWORD=from-file\n", encoding="utf-8")
    monkeypatch.setenv("APP_ENV_FILE", str(dotenv))
    monkeypatch.setenv("MAIL_PORT", "2525")

    mail = load_settings([MAIL]).get(MailSettings)

    assert mail.mail_port == 2525
    assert mail.mail_password.get_secret_value() == "from-file"


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_PORT", "")

    assert load_settings([MAIL]).get(MailSettings).mail_port == 25


def test_all_bad_values_are_reported_at_once_without_showing_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAIL_PORT", "hunter2")
    monkeypatch.setenv("APP_ENV", "prod")

    with pytest.raises(ConfigurationError) as caught:
        load_settings([MAIL])

    message = str(caught.value)
    assert "MAIL_PORT" in message
    assert "APP_ENV" in message
    assert "hunter2" not in message


def test_two_classes_may_not_claim_one_variable() -> None:
    other = Module(name="other", summary="test", settings=OtherMailSettings)

    with pytest.raises(ConfigurationError, match="MAIL_PORT is declared by MailSettings and by"):
        load_settings([MAIL, other])


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_a_deployed_environment_refuses_weak_settings_with_the_fix(
    environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_ENV", environment)

    with pytest.raises(ConfigurationError, match="MAIL_PASSWORD=<a long random string>"):
        require_strong(load_settings([MAIL]))


def test_a_deployed_environment_accepts_strong_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "production")
    monkeypatch.setenv("MAIL_PASSWORD", "3f9c" * 8)

    require_strong(load_settings([MAIL]))


def test_development_runs_with_weak_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "development")

    require_strong(load_settings([MAIL]))


def test_settings_can_not_be_changed_after_they_were_read() -> None:
    mail = load_settings([MAIL]).get(MailSettings)

    with pytest.raises(ValueError, match="frozen"):
        mail.mail_port = 1  # type: ignore[misc]  # the error under test
