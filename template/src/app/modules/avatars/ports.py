"""What another module may do for avatars. They work without."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from dishka import AsyncContainer


@dataclass(frozen=True, slots=True)
class AfterAvatar:
    """Something to do when a user has a new picture, in the unit of work that stores it.

    `run` gets the scope, the user and the key of the picture. Where nobody contributes one, the
    thumbnail is made at once.
    """

    run: Callable[[AsyncContainer, UUID, str], Awaitable[None]]
