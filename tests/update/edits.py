"""What people do to a service between two updates, and how to see that it is still there."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rendering import run as must_run
from tests.rendering import service_environment
from tests.update.services import change

USERS = "src/app/modules/users"
MODELS, SERVICE = f"{USERS}/models.py", f"{USERS}/service.py"
VERSIONS = "migrations/versions/users"
NICKNAME = '''"""Let users have a nickname.

Revision users_0002, after users_0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "users_0002"
down_revision = "users_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("nickname", sa.String(length=40), nullable=True))


def downgrade() -> None:
    op.drop_column("users", "nickname")
'''
METHOD = '''
    async def rename(self, identifier: UUID, name: str) -> User:
        """Give a user another name."""
        user = await self._users.get(identifier)
        await self._users.update(user, name=name)
        return user
'''


@dataclass(frozen=True, slots=True)
class Edit:
    """One thing somebody does, and the texts by which it is known afterwards."""

    name: str
    apply: Callable[[Path], None]
    kept: Mapping[str, str | None]
    """A text that must be in a file after the update; None where the file must stay away."""
    needs: str = "README.md"
    """A file the service must have for it."""


def own_module(service: Path) -> None:
    """Write a module with the service's own command, tables and migration where it has some."""
    argv = [sys.executable, "-m", "app", "new", "module", "invoices"]
    must_run(argv, service, service_environment())


def own_settings(service: Path) -> None:
    change(
        service,
        "src/app/core/settings.py",
        "app_startup_timeout: Seconds = Field(default=30.0",
        "app_startup_timeout: Seconds = Field(default=45.0",
    )


def own_readme(service: Path) -> None:
    change(service, "README.md", "A layered FastAPI service", "Takes orders from shops")
    section = "## Whom to call\n\nAda.\n\n## Test it\n"
    change(service, "README.md", "## Test it\n", section)


def own_method(service: Path) -> None:
    change(service, SERVICE, "\n    async def _expected(", f"{METHOD}\n    async def _expected(")


def own_column(service: Path) -> None:
    line = "    is_active: Mapped[bool] = mapped_column(default=True)\n"
    change(
        service,
        MODELS,
        line,
        f"{line}    nickname: Mapped[str | None] = mapped_column(String(40))\n",
    )
    path = service / VERSIONS / "users_0002_let_users_have_a_nickname.py"
    path.write_text(NICKNAME, encoding="utf-8")


def no_users(service: Path) -> None:
    for folder in (USERS, VERSIONS, "tests/modules/users"):
        shutil.rmtree(service / folder)


def own_dependency(service: Path) -> None:
    change(service, "pyproject.toml", '"pydantic-settings>=2.16,', '"pydantic-settings>=2.16.1,')


EDITS = (
    Edit(
        "a module of their own",
        own_module,
        {
            "src/app/modules/invoices/module.py": "Module(",
            "src/app/modules/invoices/service.py": "class",
        },
    ),
    Edit("a changed setting", own_settings, {"src/app/core/settings.py": "default=45.0"}),
    Edit("a changed README", own_readme, {"README.md": "Takes orders from shops"}),
    Edit("a section of their own", lambda _: None, {"README.md": "## Whom to call\n\nAda."}),
    Edit("a bumped dependency", own_dependency, {"pyproject.toml": '"pydantic-settings>=2.16.1,'}),
    Edit("a changed service", own_method, {SERVICE: "async def rename("}, needs=SERVICE),
    Edit(
        "a migration of their own",
        own_column,
        {MODELS: "nickname", f"{VERSIONS}/users_0002_let_users_have_a_nickname.py": "users_0002"},
        needs=SERVICE,
    ),
)
WITHOUT_USERS = (
    *EDITS[:5],
    Edit("a deleted example", no_users, {MODELS: None, SERVICE: None}, needs=SERVICE),
)
"""The same, by somebody who has deleted the example module."""


@dataclass(frozen=True, slots=True)
class Case:
    """A service somebody made, edited and updates."""

    release: str
    answers: Mapping[str, Any]
    edits: tuple[Edit, ...]
    given: Mapping[str, Any]
    """Answers given with the update, as `--data`."""

    def __str__(self) -> str:
        """Return a readable name."""
        deleted = "-without-users" if self.edits is WITHOUT_USERS else ""
        given = "-answering" if self.given else ""
        return f"{self.release}-{self.answers['preset']}{deleted}{given}"

    def applicable(self, service: Path) -> list[Edit]:
        """Return the edits that can be made to a service."""
        return [edit for edit in self.edits if (service / edit.needs).exists()]
