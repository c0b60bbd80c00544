"""The first users of a development database."""

from __future__ import annotations

from dishka import AsyncContainer
from pydantic import SecretStr

from app.infrastructure.database import Seed
from app.modules.users.repository import UserRepository
from app.modules.users.schemas import UserCreate
from app.modules.users.service import UserService

DEVELOPMENT_PASSWORD = SecretStr("development only")
"""Of every seeded user. Seeds do not run when deployed."""
NAMES = ("Ada Lovelace", "Grace Hopper", "Katherine Johnson")


async def seed_users(scope: AsyncContainer) -> int:
    """Add the users that are missing; return how many."""
    users, service = await scope.get(UserRepository), await scope.get(UserService)
    added = 0
    for name in NAMES:
        email = f"{name.split()[0].lower()}@example.com"
        if await users.by_email(email) is None:
            await service.create(UserCreate(email=email, name=name, password=DEVELOPMENT_PASSWORD))
            added += 1
    return added


USERS_SEED = Seed(name="users", run=seed_users)
