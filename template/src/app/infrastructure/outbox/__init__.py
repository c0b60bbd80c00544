"""Jobs that leave when the transaction is committed, and effects that happen once."""

from app.infrastructure.outbox.errors import NoUnitOfWorkError
from app.infrastructure.outbox.inbox import idempotent, once
from app.infrastructure.outbox.outbox import Outbox
from app.infrastructure.outbox.relay import Relay

__all__ = ["NoUnitOfWorkError", "Outbox", "Relay", "idempotent", "once"]
