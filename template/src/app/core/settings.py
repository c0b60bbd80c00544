"""Settings: each module declares its own class; all are read from the environment and `.env`.

A field's name in upper case is its environment variable, nothing is prefixed or renamed: to find
where `DB_POOL_SIZE` is used, search for `db_pool_size`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from app.core.errors import ConfigurationError
from app.core.module import Module
from app.core.project import project

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

SettingsT = TypeVar("SettingsT", bound="ModuleSettings")

ENV_FILE_VARIABLE = "APP_ENV_FILE"
"""Names the dotenv file to read instead of `.env`; empty to read none."""


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a numeric setting, shown by `app env`."""

    name: str


@dataclass(frozen=True, slots=True)
class FormerName:
    """A variable's name in earlier releases, still read, with a warning that says the new one.

    `log_level: Annotated[str, FormerName("LOG_LVL")] = "INFO"`. Where the environment, or the
    dotenv file, has both, the new one wins.
    """

    name: str


class RenamedSettingWarning(FutureWarning):
    """An environment variable is called otherwise now."""


Seconds = Annotated[float, Unit("seconds"), Field(allow_inf_nan=False)]
Bytes = Annotated[int, Unit("bytes")]
Count = Annotated[int, Unit("count")]


class Environment(StrEnum):
    """Where the service runs."""

    DEVELOPMENT = "development"
    TEST = "test"
    STAGING = "staging"
    """As production, with its own data: held to the same rules."""
    PRODUCTION = "production"

    @property
    def is_deployed(self) -> bool:
        """Whether the rules of production apply."""
        return self in {Environment.STAGING, Environment.PRODUCTION}


@dataclass(frozen=True, slots=True)
class Weakness:
    """A setting that is good enough for development only."""

    variable: str
    problem: str
    fix: str
    """The line to put into the environment, or the sentence that says what to do."""

    def __str__(self) -> str:
        """Return one line for people."""
        return f"{self.variable}: {self.problem}. Fix: {self.fix}"


class ModuleSettings(BaseSettings):
    """Base of every settings class: the environment wins over `.env`, and that over defaults."""

    model_config = SettingsConfigDict(
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        env_file_encoding="utf-8",
        use_attribute_docstrings=True,
        validate_default=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment and the dotenv file use former names."""
        for source in (env_settings, dotenv_settings):
            _accept_former_names(settings_cls, cast("EnvSettingsSource", source))
        return init_settings, env_settings, dotenv_settings, file_secret_settings

    def weaknesses(self) -> Iterable[Weakness]:
        """Yield what must not reach production. Called only to check a deployed environment."""
        return ()


def former_names(cls: type[BaseSettings]) -> dict[str, str]:
    """Return the variables' former names and those they have now, in upper case."""
    return {
        item.name.upper(): field.upper()
        for field, info in cls.model_fields.items()
        for item in info.metadata
        if isinstance(item, FormerName)
    }


def _accept_former_names(cls: type[BaseSettings], source: EnvSettingsSource) -> None:
    """Give a source the values of former names under the new ones, where those are not set."""
    found = dict(source.env_vars)
    for former, present in former_names(cls).items():
        if former.lower() in found and present.lower() not in found:
            message = f"{former} is called {present} now, and the old name will go: rename it"
            warnings.warn(message, RenamedSettingWarning, stacklevel=2)
            found[present.lower()] = found[former.lower()]
    source.env_vars = found


class AppSettings(ModuleSettings):
    """Settings of the service as a whole."""

    app_env: Environment = Environment.DEVELOPMENT
    """Where the service runs; staging and production refuse weak settings at start-up."""
    app_name: str = Field(default_factory=lambda: project().name, pattern=r"^[a-z][a-z0-9-]*$")
    """Name in logs, and the prefix of keys in shared stores."""
    app_startup_timeout: Seconds = Field(default=30.0, gt=0)
    """How long one module may take to start."""
    app_shutdown_timeout: Seconds = Field(default=10.0, gt=0)
    """How long one module may take to stop."""
    app_side_work: bool = True
    """Whether this process handles events and relays what is left, beside what it is asked for.
    The processes of a compute pool do not."""


@dataclass(frozen=True, slots=True)
class SettingsBundle:
    """All settings of the service, by class."""

    by_type: Mapping[type[ModuleSettings], ModuleSettings]

    def __iter__(self) -> Iterator[ModuleSettings]:
        """Iterate over the settings objects."""
        return iter(self.by_type.values())

    def get(self, kind: type[SettingsT]) -> SettingsT:
        """Return the settings of that class.

        Raises:
            KeyError: no module declares that class.
        """
        return cast("SettingsT", self.by_type[kind])

    def weaknesses(self) -> list[Weakness]:
        """Return everything that must not reach production."""
        return [weakness for settings in self for weakness in settings.weaknesses()]


def env_file() -> Path | None:
    """Return the dotenv file to read, or None.

    Raises:
        ConfigurationError: the file that is named is not there: nobody meant the defaults.
    """
    name = os.environ.get(ENV_FILE_VARIABLE, ".env")
    if name and ENV_FILE_VARIABLE in os.environ and not Path(name).exists():
        message = f"{ENV_FILE_VARIABLE} names {name}, which is not there: mend it or leave it empty"
        raise ConfigurationError(message)
    return Path(name) if name else None


def settings_classes(modules: Iterable[Module]) -> list[type[ModuleSettings]]:
    """Return the settings classes of the service: core's, then each module's.

    Raises:
        ConfigurationError: two classes declare the same variable.
    """
    classes: list[type[ModuleSettings]] = [
        AppSettings,
        *(cls for module in modules for cls in module.settings_classes),
    ]
    owners: dict[str, str] = {}
    for cls in classes:
        for field in cls.model_fields:
            other = owners.setdefault(field, cls.__name__)
            if other != cls.__name__:
                message = f"{field.upper()} is declared by {other} and by {cls.__name__}"
                raise ConfigurationError(message)
    return classes


def load_settings(modules: Iterable[Module]) -> SettingsBundle:
    """Read every module's settings.

    Raises:
        ConfigurationError: lists every variable that is missing or not acceptable, in one message.
    """
    sources: dict[str, Any] = {"_env_file": env_file()}
    loaded: dict[type[ModuleSettings], ModuleSettings] = {}
    problems: list[str] = []
    for cls in settings_classes(modules):
        try:
            loaded[cls] = cls(**sources)
        except ValidationError as error:
            problems += [_describe(cls, item) for item in error.errors(include_url=False)]
        except SettingsError as error:
            problems.append(f"{cls.__name__}: {error}")
    if problems:
        raise ConfigurationError("\n".join(["Settings can't be used:", *problems]))
    return SettingsBundle(loaded)


def _describe(cls: type[ModuleSettings], error: ErrorDetails) -> str:
    """Turn a validation error into a line that names the variable; never shows its value."""
    if not error["loc"]:
        return f"  {cls.__name__}: {error['msg']}"
    return f"  {str(error['loc'][0]).upper()}: {error['msg']}"


def require_strong(settings: SettingsBundle) -> None:
    """Refuse to run a deployed environment with settings made for development.

    Raises:
        ConfigurationError: lists each weakness with the line that fixes it.
    """
    app_env = settings.get(AppSettings).app_env
    if not app_env.is_deployed:
        return
    weaknesses = settings.weaknesses()
    if weaknesses:
        lines = [f"  {weakness}" for weakness in weaknesses]
        raise ConfigurationError("\n".join([f"Refused to start with APP_ENV={app_env}:", *lines]))
