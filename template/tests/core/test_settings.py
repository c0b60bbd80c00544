"""Settings are composed from the modules' classes, the environment and a dotenv file."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, SecretStr

from app.core.errors import ConfigurationError
from app.core.module import Module
from app.core.settings import (
    AppSettings,
    Environment,
    FormerName,
    ModuleSettings,
    RenamedSettingWarning,
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


class RenamedMailSettings(ModuleSettings):
    """Called otherwise in an earlier release."""

    mail_relay: Annotated[str, FormerName("SMTP_HOST")] = "localhost"
    mail_copies: Annotated[tuple[str, ...], FormerName("SMTP_BCC")] = ()


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


RENAMED = Module(name="renamed", summary="test", settings=RenamedMailSettings)


@pytest.mark.parametrize("place", ["environment", "dotenv file"])
def test_a_former_name_is_read_with_a_warning_that_says_the_new_one(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = {"SMTP_HOST": "mail.example.com", "smtp_bcc": '["a@example.com"]'}
    if place == "environment":
        for name, value in values.items():
            monkeypatch.setenv(name, value)
    else:
        dotenv = tmp_path / "old.env"
        dotenv.write_text("".join(f"{k}={v}\n" for k, v in values.items()), encoding="utf-8")
        monkeypatch.setenv("APP_ENV_FILE", str(dotenv))

    with pytest.warns(RenamedSettingWarning) as caught:
        mail = load_settings([RENAMED]).get(RenamedMailSettings)

    assert (mail.mail_relay, mail.mail_copies) == ("mail.example.com", ("a@example.com",))
    told = sorted(str(warning.message) for warning in caught)
    assert told == [
        "SMTP_BCC is called MAIL_COPIES now, and the old name will go: rename it",
        "SMTP_HOST is called MAIL_RELAY now, and the old name will go: rename it",
    ]


def test_the_new_name_wins_over_the_former_and_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SMTP_HOST", "old.example.com")
    monkeypatch.setenv("MAIL_RELAY", "new.example.com")

    with warnings.catch_warnings(action="error"):
        mail = load_settings([RENAMED]).get(RenamedMailSettings)

    assert mail.mail_relay == "new.example.com"


def test_development_runs_with_weak_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "development")

    require_strong(load_settings([MAIL]))


def test_settings_can_not_be_changed_after_they_were_read() -> None:
    mail = load_settings([MAIL]).get(MailSettings)

    with pytest.raises(ValueError, match="frozen"):
        mail.mail_port = 1  # type: ignore[misc]  # the error under test
