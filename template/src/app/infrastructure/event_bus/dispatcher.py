"""Call the handlers of an event: each for itself, again when it fails."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from dishka import AsyncContainer
from loguru import logger

from app.core.container import WorkScope
from app.core.events import Envelope, InvalidEventError
from app.core.transient import Repeats
from app.infrastructure.event_bus.bounding import within
from app.infrastructure.event_bus.errors import CancelledInsideError, RejectEventError
from app.infrastructure.event_bus.handlers import EventHandler
from app.infrastructure.event_bus.settings import EventBusSettings
from app.infrastructure.event_bus.subscriptions import Subscription, Subscriptions
from app.infrastructure.logger import in_context
from app.infrastructure.logger.carrying import context_of

HOPELESS = (InvalidEventError, RejectEventError)
"""Another call would end the same way."""
LONGEST_ERROR = 2000
"""Characters kept of an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerFailure:
    """A handler that could not deal with an event, in all its attempts."""

    handler: str
    attempts: int
    error: str
    """Type and message of the last attempt's."""


class Dispatcher:
    """Calls handlers, in scopes of the container."""

    def __init__(
        self, container: AsyncContainer, subscriptions: Subscriptions, settings: EventBusSettings
    ) -> None:
        """Call who is subscribed."""
        self._container = container
        self._subscriptions = subscriptions
        self._timeout = settings.event_bus_handler_timeout

    async def dispatch(
        self, envelope: Envelope, chosen: Iterable[Subscription]
    ) -> Sequence[HandlerFailure]:
        """Call handlers one after the other; then those that failed, again.

        Returns:
            Who has failed for good. It has been logged.
        """
        if envelope.event is not None:  # published here: its context is the present one
            return await self._call_all(envelope, chosen)
        known = {"event_id": str(envelope.id), "event_name": envelope.name}
        with context_of(envelope.headers), logger.contextualize(**known):
            return await self._call_all(envelope, chosen)

    async def _call_all(
        self, envelope: Envelope, chosen: Iterable[Subscription]
    ) -> Sequence[HandlerFailure]:
        failed: list[tuple[Subscription, Exception]] = []
        for subscription in chosen:
            if subscription.is_spent:
                continue
            if subscription.handler.once:
                subscription.is_spent = True
            error = await self._try(subscription.handler, envelope)
            if error is not None:
                failed.append((subscription, error))
            elif subscription.is_spent:
                self._subscriptions.remove(subscription)
        if not failed:
            return ()
        found = await asyncio.gather(*(self._again(envelope, *item) for item in failed))
        return [failure for failure in found if failure]

    async def _again(
        self, envelope: Envelope, subscription: Subscription, error: Exception
    ) -> HandlerFailure | None:
        """Repeat a call that failed, as its policy says; None: it has worked."""
        handler = subscription.handler
        attempt, repeats = 1, Repeats()
        last: Exception | None = error
        while last is not None and not isinstance(last, HOPELESS):
            pause = repeats.pause_after(last)  # which is no failure of the handler's
            if pause is None:
                if attempt == handler.retry.attempts:
                    break
                pause = handler.retry.pause(attempt)
                attempt, repeats = attempt + 1, Repeats()
            said = _said(last)
            logger.warning("{} fails with {}, and is tried again: {}", handler.name, envelope, said)
            await asyncio.sleep(pause)
            last = await self._try(handler, envelope)
        if last is None:
            if handler.once:
                self._subscriptions.remove(subscription)
            return None
        if handler.once:  # the next event may be the one
            subscription.is_spent = False
        logger.opt(exception=last).error(
            "{} can't deal with {} ({} attempts)", handler.name, envelope, attempt
        )
        return HandlerFailure(handler=handler.name, attempts=attempt, error=_said(last))

    async def _try(self, handler: EventHandler[Any, Any], envelope: Envelope) -> Exception | None:
        """Call a handler; return what it raised."""
        try:
            kind = handler.kinds.get(envelope.name)
            event = envelope if kind is None else envelope.read(kind)
            if handler.is_plain:
                work = handler.function(event)
            else:
                work = self._with_services(handler, event, envelope)
            try:
                waits_for = work.send(None)
            except StopIteration:  # it has ended, and never waited: no limit is needed
                return None
            except asyncio.CancelledError as error:
                raise CancelledInsideError from error
            await within(handler.timeout or self._timeout, work, waits_for)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises, the others go on
            return error
        return None

    async def _with_services(
        self, handler: EventHandler[Any, Any], event: object, envelope: Envelope
    ) -> None:
        arguments: dict[str, Any] = {handler.event_parameter: event}
        if handler.envelope_parameter:
            arguments[handler.envelope_parameter] = envelope
        if not handler.services:
            await _invoke(handler, arguments)
            return
        async with WorkScope(self._container) as scope:
            for name, kind in handler.services.items():
                arguments[name] = await scope.get(kind)
            await _invoke(handler, arguments)


async def _invoke(handler: EventHandler[Any, Any], arguments: dict[str, Any]) -> None:
    if handler.is_async:
        await handler.function(**arguments)
    else:
        await asyncio.to_thread(in_context(handler.function), **arguments)


def _said(error: Exception) -> str:
    text = "unprintable"
    with suppress(Exception):  # its __str__ is somebody else's code
        text = "".join(traceback.format_exception_only(error)).strip()
    return text[:LONGEST_ERROR]
