"""What type checkers say: right calls pass, wrong ones are errors.

Never run. Each `ignore` is an assertion: mypy and pyright are told to complain about one that is
not needed.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from datetime import timedelta
from typing import assert_type
from uuid import UUID

from pydantic import BaseModel

from app.infrastructure.cache import Cache, Codec, StoredToken, TokenStore, cache, cache_key


class Profile(BaseModel):
    name: str


class Profiles:
    @cache(ttl=60, key="profile:{user_id}", tags=["team:{team}"])
    async def get(self, user_id: UUID, *, team: str = "a") -> Profile | None:
        del user_id, team
        return None

    @cache(ttl=60, key=lambda _, number: cache_key("n", number), stale=5, negative_ttl=1)
    async def number(self, number: int) -> int:
        return number


@cache(ttl=60, jitter=0.5)
async def alone() -> list[str]:
    return []


async def right(profiles: Profiles, user_id: UUID) -> None:
    """A decorated method is what it was."""
    assert_type(await profiles.get(user_id), Profile | None)
    assert_type(await profiles.get(user_id=user_id, team="b"), Profile | None)
    assert_type(await profiles.number(1), int)
    assert_type(await alone(), list[str])


async def wrong(profiles: Profiles) -> None:
    """Its arguments are still checked."""
    await profiles.get("7")  # type: ignore[arg-type]
    await profiles.get()  # type: ignore[call-arg]
    await profiles.number(1, 2)  # type: ignore[call-arg]
    (await profiles.number(1)).upper()  # type: ignore[attr-defined]

    @cache()  # type: ignore[call-arg]
    async def without_ttl() -> int:
        return 1

    @cache(ttl="60")  # type: ignore[arg-type]
    async def with_text() -> int:
        return 1

    @cache(ttl=60)  # type: ignore[type-var]
    def plain() -> int:
        return 1


async def values(found: Cache) -> None:
    """What comes out is what the factory, or the model, is."""

    async def make() -> Profile:
        return Profile(name="Ada")

    assert_type(await found.get_or_set("p:1", make, 60), Profile)
    assert_type(await found.get_or_set("p:1", make, 60, model=Profile, tags=["a"]), Profile)
    assert_type(await found.get_or_set("p:1", make, ttl=60, stale=5, negative_ttl=1), Profile)
    assert_type(await found.get("p:1", Profile), Profile | None)
    assert_type(await found.get("p:1", Codec[list[int]](list[int])), list[int] | None)
    await found.set("n:1", 7, 60, model=int)
    await found.get_or_set("p:1", 7, 60)  # type: ignore[call-overload]
    await found.get("p:1")  # type: ignore[call-arg]


async def tokens(store: TokenStore) -> None:
    """Tokens are text; what they stand for is typed."""
    token = await store.put("7", timedelta(hours=1), {"device": "phone"})
    assert_type(token, str)
    assert_type(await store.get(token), StoredToken | None)
    assert_type(await store.revoke_user("7"), int)
    await store.put(7, timedelta(hours=1))  # type: ignore[arg-type]
    await store.put("7", 3600)  # type: ignore[arg-type]
