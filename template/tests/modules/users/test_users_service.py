"""Passwords, events and seeds of users."""

from __future__ import annotations

from uuid import UUID

import pytest
from dishka import AsyncContainer
from httpx2 import AsyncClient
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.discovery import discover
from app.core.settings import Environment
from app.core.testing import PublishedEvents
from app.infrastructure.database.seeds import run_seeds
from app.modules.users.events import UserDeleted, UserRegistered, UserUpdated
from app.modules.users.passwords import PasswordHasher
from app.modules.users.repository import UserRepository
from app.modules.users.schemas import UserCreate
from app.modules.users.seeds import NAMES
from app.modules.users.service import UserService
from tests.modules.users.conftest import PASSWORD, MakeUser


async def test_the_password_is_kept_as_an_argon2id_hash(
    make_user: MakeUser, session: AsyncSession, container: AsyncContainer
) -> None:
    await make_user(email="ada@example.com")
    passwords = await container.get(PasswordHasher)

    user = await UserRepository(session).by_email("ada@example.com")

    assert user is not None
    assert user.password_hash.startswith("$argon2id$")
    assert await passwords.verify(SecretStr(PASSWORD), user.password_hash)
    assert not await passwords.verify(SecretStr("something else"), user.password_hash)


async def test_a_changed_password_replaces_the_old_one(
    make_user: MakeUser, client: AsyncClient, session: AsyncSession, container: AsyncContainer
) -> None:
    made = await make_user(email="ada@example.com")
    await client.patch(f"/users/{made['id']}", json={"password": "a new long password"})
    passwords = await container.get(PasswordHasher)

    user = await UserRepository(session).by_email("ada@example.com")

    assert user is not None
    assert await passwords.verify(SecretStr("a new long password"), user.password_hash)


async def test_what_happens_is_announced_after_it_lasts(
    make_user: MakeUser, client: AsyncClient, published: PublishedEvents
) -> None:
    user = await make_user()
    await client.patch(f"/users/{user['id']}", json={"name": "Ada King"})
    await client.delete(f"/users/{user['id']}")

    who = UUID(user["id"])
    assert published.events == [
        UserRegistered(user_id=who),
        UserUpdated(user_id=who, changed=("name",)),
        UserDeleted(user_id=who),
    ]
    assert {envelope.key for envelope in published.envelopes} == {f"user:{who}"}


async def test_what_was_rolled_back_is_not_announced(
    container: AsyncContainer, published: PublishedEvents
) -> None:
    data = UserCreate(email="ada@example.com", name="Ada", password=SecretStr(PASSWORD))

    async def create_and_fail() -> None:
        async with container() as scope:
            await (await scope.get(UserService)).create(data)
            message = "something went wrong afterwards"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="afterwards"):
        await create_and_fail()

    assert published.events == []
    async with container() as scope:
        assert await (await scope.get(UserRepository)).by_email("ada@example.com") is None


async def test_seeding_twice_adds_nothing_the_second_time(container: AsyncContainer) -> None:
    first = await run_seeds(container, discover(), Environment.DEVELOPMENT)
    second = await run_seeds(container, discover(), Environment.DEVELOPMENT)

    assert (first["users"], second["users"]) == (len(NAMES), 0)


async def test_production_is_not_seeded(container: AsyncContainer) -> None:
    assert "users" not in await run_seeds(container, discover(), Environment.PRODUCTION)
