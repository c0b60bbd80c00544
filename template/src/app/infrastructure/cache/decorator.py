"""`@cache`: keep what an async method returns."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, cast

from app.infrastructure.cache.plan import Key, Naming, returned
from app.infrastructure.cache.runtime import current_cache
from app.infrastructure.cache.scoped import Again
from app.infrastructure.cache.wanted import Keeping, Wanted

MethodT = TypeVar("MethodT", bound=Callable[..., Awaitable[Any]])


def cache(  # noqa: PLR0913 - each says one thing
    *,
    ttl: float,
    key: Key | None = None,
    tags: Sequence[Key] = (),
    stale: float = 0.0,
    negative_ttl: float | None = None,
    jitter: float | None = None,
) -> Callable[[MethodT], MethodT]:
    """Keep what an async method returns, for all processes of the service.

        @cache(ttl=300, key="user:{user_id}", tags=["team:{team_id}"])
        async def profile(self, team_id: UUID, user_id: UUID) -> Profile: ...

    The signature stays the same. What the value depends on has to be in the key: of `self` nothing
    is, nor the tenant or the user of the request. Without a running service, and with
    `ENABLE_CACHE=0`, the method is simply called.

    Args:
        ttl: seconds a value is kept.
        key: a path with arguments in it; by default the method's name and all its arguments.
        tags: names by which values can be invalidated together.
        stale: for so many seconds after `ttl` the old value is returned at once and a new one
            computed in the background, in a scope of its own; by the first caller where the
            container does not provide the class.
        negative_ttl: seconds None and `NotFoundError` are kept; by default they are not.
        jitter: share by which each life is shortened at random; by default `CACHE_JITTER`.

    Raises:
        TypeError: it is no async method, the key names an argument it does not have, or what it
            returns can't be kept.
        ValueError: a time that makes no sense.
    """

    def decorate(function: MethodT) -> MethodT:
        if not inspect.iscoroutinefunction(inspect.unwrap(function)):
            message = f"{function.__qualname__} can't be cached: it is not written with async def"
            raise TypeError(message)
        name = Naming(function, key, tags)

        def keeping() -> Keeping[Any]:
            return Keeping(
                codec=returned(function),
                ttl=ttl,
                stale=stale,
                negative_ttl=negative_ttl,
                jitter=jitter,
                title=name.title,
            )

        known: list[Keeping[Any]] = []
        with suppress(NameError):  # it names what is defined further down: when first called
            known.append(keeping())

        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            found = current_cache()
            if found is None or not found.enabled:
                return await function(*args, **kwargs)
            if not known:
                known.append(keeping())
            path, labels = name(args, kwargs)
            make = partial(function, *args, **kwargs)
            again: Again | None = make
            if stale and name.arguments.is_method:
                again = found.again(function, args, kwargs)
            return await found.fetch(Wanted(path, labels, known[0], make, again))

        return cast("MethodT", call)

    return decorate
