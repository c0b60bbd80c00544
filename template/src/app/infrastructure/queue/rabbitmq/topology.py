"""What lies in the broker, and how a message finds its way.

Each queue of jobs is four quorum queues, its lanes: one for each priority. A worker empties the
first before it looks at the next.

A message that is to come later goes down a ladder of quorum queues, one for each binary digit of
its delay. Each holds every message for the same time, so that none waits behind another one, and
passes it on by dead-lettering (at least once, as the broker does it for quorum queues from 3.10).
The routing key has a word for each digit, and then the lane:

    delay of 13 units = 1101    ladder.3 ──► ladder.2 ──► (not ladder.1) ──► ladder.0 ──► lane

The ladder is the same for all services of a virtual host.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.core.errors import ConfigurationError

if TYPE_CHECKING:
    from aiormq import Channel

from aiormq.exceptions import ChannelPreconditionFailed

from app.infrastructure.queue.options import PRIORITIES

UNIT = 50
"""Ms a message waits on the lowest step; on each other one twice as long as on the one below."""
STEPS = 22
"""The longest delay in one go is 58 hours; a message with more to wait goes round again."""
HOP = 6
"""Ms a step takes beside its own time, at most usually. Aimed early by so much, the last bit is
waited for where the job runs, to the millisecond."""
VERSION = "v1"
"""In the names of what all services share: with other arguments it would be another ladder."""
ARRIVALS = f"jobs.{VERSION}.arrivals"
"""Passes on what has come down the ladder, to the lane its key names."""
NEVER = 2**30
"""Deliveries after which the broker gives up a message. Starts are counted elsewhere: a delivery
is none, and RabbitMQ 4 would give up after 20."""


def lanes(namespace: str, queue: str) -> list[str]:
    """Return the names of a queue's lanes, the first to be emptied first."""
    return [lane(namespace, queue, priority) for priority in PRIORITIES]


def lane(namespace: str, queue: str, priority: int) -> str:
    """Return the name of the lane of a priority. No dots: it is one word of a routing key."""
    return f"{namespace}:{queue}:{priority}"


def graveyard(namespace: str, queue: str) -> str:
    """Return the queue in which the broker puts what it gives up by itself (a policy's limit)."""
    return f"{namespace}:{queue}:dead"


def way(target: str, due: int) -> tuple[str, str]:
    """Return exchange and routing key of a message for a lane, `due` in ms since the epoch."""
    if due:
        left = due - time.time() * 1000
        units = int(left / UNIT)
        units = min(int((left - HOP * units.bit_count()) / UNIT), 2**STEPS - 1)
        if units > 0:
            digits = ".".join(f"{units:0{STEPS}b}")
            return step(units.bit_length() - 1), f"{digits}.{target}"
    return "", target


def step(number: int) -> str:
    """Return the name of a step of the ladder: an exchange, and the queue bound to it."""
    return f"jobs.{VERSION}.ladder.{number:02}"


async def declare_ladder(channel: Channel, group: int) -> None:
    """Declare the ladder; what is there already stays.

    Raises:
        ConfigurationError: it is there with other arguments.
    """
    await channel.exchange_declare(ARRIVALS, exchange_type="topic", durable=True)
    for number in range(STEPS):
        await channel.exchange_declare(step(number), exchange_type="topic", durable=True)
    for number in range(STEPS):
        name = step(number)
        below = step(number - 1) if number else ARRIVALS
        arguments = {
            "x-message-ttl": UNIT * 2**number,
            "x-dead-letter-exchange": below,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        await _declare(channel, name, {**arguments, **_quorum(group)})
        higher = "*." * (STEPS - 1 - number)
        await channel.queue_bind(name, name, f"{higher}1.#")
        await channel.exchange_bind(destination=below, source=name, routing_key=f"{higher}0.#")


async def declare_graveyard(channel: Channel, namespace: str, queue: str, group: int) -> None:
    """Declare where the broker puts what it gives up; raises as `declare_lane`."""
    arguments = {"x-delivery-limit": NEVER, **_quorum(group)}
    await _declare(channel, graveyard(namespace, queue), arguments)


async def declare_lane(
    channel: Channel, namespace: str, queue: str, priority: int, group: int
) -> None:
    """Declare a lane and what belongs to it; what is there already stays.

    Raises:
        ConfigurationError: it is there with other arguments.
    """
    arguments = {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": graveyard(namespace, queue),
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-delivery-limit": NEVER,
    }
    name = lane(namespace, queue, priority)
    await _declare(channel, name, {**arguments, **_quorum(group)})
    await channel.queue_bind(name, ARRIVALS, "*." * STEPS + name)


def _quorum(group: int) -> dict[str, Any]:
    size = {"x-quorum-initial-group-size": group} if group else {}
    return {"x-queue-type": "quorum", **size}


async def _declare(channel: Channel, name: str, arguments: Mapping[str, Any]) -> None:
    try:
        await channel.queue_declare(name, durable=True, arguments=dict(arguments))
    except ChannelPreconditionFailed as error:
        message = (
            f"RabbitMQ has a queue {name!r} that was declared otherwise ({error}). Empty it, delete"
            f" it (rabbitmqctl delete_queue {name!r}) and start again, or give the service a"
            " virtual host of its own in RABBITMQ_URL"
        )
        raise ConfigurationError(message) from error
