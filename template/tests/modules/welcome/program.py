"""An API that is killed at its first registration: `program.py PORT before|between`."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from sqlalchemy.ext.asyncio import AsyncSession

from app.api import server
from app.infrastructure.logger import configure_logging
from app.infrastructure.outbox import Outbox


def die() -> NoReturn:
    """As the kernel would end it: nothing of this process runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


async def not_committed(_session: AsyncSession) -> None:
    """Die with everything written and nothing committed."""
    die()


async def not_published(_outbox: Outbox, *_: object) -> None:
    """Die with everything committed and nothing published."""
    die()


if __name__ == "__main__":
    if sys.argv[2] == "before":
        AsyncSession.commit = not_committed  # type: ignore[method-assign,assignment]  # dies at that very moment
    else:
        Outbox._publish_claimed = not_published  # type: ignore[assignment]  # dies at that very moment
    configure_logging()
    server.serve(host="127.0.0.1", port=int(sys.argv[1]))
