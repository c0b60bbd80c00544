"""Effects that happen once: the key and the effect are committed together."""

from __future__ import annotations

import functools
import typing
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter
from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.json_names import EITHER_NAME
from app.infrastructure.database import current_session, transaction
from app.infrastructure.outbox.errors import NoUnitOfWorkError
from app.infrastructure.outbox.models import LONGEST_KEY, InboxRow

MethodT = TypeVar("MethodT", bound=Callable[..., Awaitable[Any]])
ResultT = TypeVar("ResultT")
INSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


async def once(
    session: AsyncSession,
    key: str,
    make: Callable[[], Awaitable[ResultT]],
    adapter: TypeAdapter[ResultT],
) -> ResultT:
    """Do something once for each key; return what came of it the first time.

    Somebody who comes meanwhile waits for the end of the first transaction: it gets that result,
    or does it itself if the first one was rolled back.

    Args:
        session: whose commit keeps key and effect.
        key: says that two calls mean one thing.
        make: has the effect, in the session.
        adapter: writes and reads the result.
    """
    if len(key) > 2 * LONGEST_KEY:
        key = sha256(key.encode()).hexdigest()
    async with transaction(session):
        insert = INSERTS[session.get_bind().dialect.name](InboxRow)
        values = insert.values(key=key, created_at=datetime.now(UTC))
        added = values.on_conflict_do_nothing().returning(InboxRow.key)
        if (await session.execute(added)).scalar_one_or_none() is None:
            found = await session.scalar(select(InboxRow.result).where(InboxRow.key == key))
            return adapter.validate_json(found or "null", **EITHER_NAME)
        result = await make()
        body = adapter.dump_json(result, warnings="error").decode()
        await session.execute(update(InboxRow).where(InboxRow.key == key).values(result=body))
        return result


def idempotent(*, key: Callable[..., str]) -> Callable[[MethodT], MethodT]:
    """Make an async method have its effect once for each key, however often it is called.

        @idempotent(key=lambda self, order: f"charge:{order.id}")
        async def charge(self, order: Order) -> Receipt: ...

    The effect has to be in the database, in the running unit of work. Keys are kept for
    `INBOX_KEEP`.

    Args:
        key: is called with the method's arguments. Methods do not share keys.

    Raises:
        NoUnitOfWorkError: when called outside of one.
    """

    def decorate(function: MethodT) -> MethodT:
        adapter: list[TypeAdapter[Any]] = []

        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            session = current_session()
            if session is None:
                raise NoUnitOfWorkError
            if not adapter:  # when first needed: annotations may name what is defined later
                adapter.append(TypeAdapter(typing.get_type_hints(function)["return"]))
            name = f"{function.__module__}.{function.__qualname__}:{key(*args, **kwargs)}"
            return await once(session, name, partial(function, *args, **kwargs), adapter[0])

        return cast("MethodT", call)

    return decorate
