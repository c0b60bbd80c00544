"""The module of the example."""

from __future__ import annotations

from pathlib import Path

from dishka import AsyncContainer, Provider, Scope
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.module import Module
from app.infrastructure.database import Seed
from app.infrastructure.deferred import Deferrable
from app.infrastructure.mail import MailTemplates
from app.modules.example.models import User
from app.modules.example.repository import UserRepository
from app.modules.example.router import FIRST, router

provider = Provider(scope=Scope.REQUEST)
provider.provide(UserRepository)


async def seed(scope: AsyncContainer) -> int:
    """Add the first user, unless there is one."""
    session = await scope.get(AsyncSession)
    if await session.get(User, FIRST):
        return 0
    session.add(User(id=FIRST, name="Old name"))
    return 1


module = Module(
    name="example",
    summary="A request whose work is done by a worker",
    requires=("database", "deferred", "mail"),
    providers=(provider,),
    routers=(router,),
    contributes=(
        # `EmailService` is deferrable by its own module.
        Deferrable(UserRepository),
        MailTemplates(Path(__file__).parent / "templates/mail"),
        Seed(name="example", run=seed),
    ),
)
