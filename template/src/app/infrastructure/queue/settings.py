"""Settings of the job queue."""

from __future__ import annotations

import importlib
from enum import StrEnum
from pathlib import Path

from pydantic import Field, SecretStr

from app.core.errors import ConfigurationError
from app.core.settings import Count, ModuleSettings, Seconds

FOLDER = Path(__file__).parent
ENGINES = sorted(folder.parent.name for folder in FOLDER.glob("*/engine.py"))
"""The engines this service has: each is a folder here."""
if not ENGINES:
    _MESSAGE = f"there is no engine in {FOLDER}: generate one, or delete the folder of the queue"
    raise ConfigurationError(_MESSAGE)


class AppRole(StrEnum):
    """What a process of the service does."""

    API = "api"
    """It answers requests."""
    WORKER = "worker"
    """It does jobs."""
    ALL = "all"
    """Both, in one process: for development, and for small services."""


class QueueSettings(ModuleSettings):
    """Which engine keeps the jobs, and how patient everybody is."""

    app_role: AppRole = AppRole.API
    """What this process does: api, worker or all. Unless it is set, `app dev` is everything, and
    `app worker` a worker."""
    queue_engine: str = Field(default=ENGINES[0], pattern="|".join(ENGINES))
    """Where jobs are kept: one of the folders this service has under infrastructure/queue."""
    queue_publish_timeout: Seconds = Field(default=2.0, gt=0)
    """How long publishing may take before it fails."""
    queue_lock: Seconds = Field(default=15.0, ge=1)
    """A job whose worker was not heard of for this long is started again by another one."""
    queue_keep_results: Seconds = Field(default=3600.0, gt=0)
    """How long completed jobs and their results are kept."""
    queue_keep_completed: Count = Field(default=10_000, ge=1)
    """Completed jobs kept in each queue at most, however young."""
    queue_keep_dead: Seconds = Field(default=30 * 86_400.0, gt=0)
    """How long dead jobs are kept for replay."""
    queue_admin_token: SecretStr = SecretStr("")
    """Bearer token that opens the /jobs routes; empty: they are closed."""
    worker_queues: str = ""
    """Queues a worker takes jobs from, separated by commas; empty: those of all handlers."""
    worker_concurrency: Count = Field(default=10, ge=1)
    """Jobs one worker process does at the same time, from each queue."""
    worker_processes: Count = Field(default=1, ge=1)
    """Worker processes."""
    worker_grace: Seconds = Field(default=25.0, gt=0)
    """How long running jobs may go on after SIGTERM; what is left then is given back."""


def engine_settings() -> tuple[type[ModuleSettings], ...]:
    """Return the settings classes of the engines: those in a `settings.py` of their folders."""
    found: list[type[ModuleSettings]] = []
    for engine in ENGINES:
        if (FOLDER / engine / "settings.py").exists():
            module = importlib.import_module(f"{__package__}.{engine}.settings")
            found += [
                value
                for value in vars(module).values()
                if isinstance(value, type)
                and issubclass(value, ModuleSettings)
                and value.__module__ == module.__name__
            ]
    return tuple(found)
