"""aio-pika as its documentation shows it, on a quorum queue with confirms; ack after success."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aio_pika

from benchmarks.queue_sides.common import Asked, Handle, main


class AioPika:
    """See `Side`."""

    def __init__(self, asked: Asked) -> None:
        """Prepare."""
        self._asked = asked
        self._connection: Any = None
        self._channel: Any = None

    async def start(self) -> None:
        """Connect and declare."""
        self._connection = await aio_pika.connect_robust(self._asked.broker)
        self._channel = await self._connection.channel()
        arguments = {"x-queue-type": "quorum"}
        await self._channel.declare_queue(self._asked.prefix, durable=True, arguments=arguments)

    async def publish(self, value: float) -> object:
        """See `Side.publish`."""
        message = aio_pika.Message(
            json.dumps(value).encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT
        )
        return await self._channel.default_exchange.publish(
            message, routing_key=self._asked.prefix, mandatory=True
        )

    async def publish_batch(self, values: list[float]) -> None:
        """See `Side.publish_batch`."""
        await asyncio.gather(*(self.publish(value) for value in values))

    async def work(self, concurrency: int, handle: Handle) -> None:
        """See `Side.work`."""
        channel = await self._connection.channel()
        await channel.set_qos(prefetch_count=concurrency)
        queue = await channel.get_queue(self._asked.prefix)

        async def take(message: Any) -> None:
            async with message.process():
                handle(json.loads(message.body))

        await queue.consume(take)

    async def result(self, published: object) -> None:
        """See `Side.result`; never asked for."""
        raise TypeError(published)

    async def stop(self) -> None:
        """See `Side.stop`."""
        await self._channel.queue_delete(self._asked.prefix)
        await self._connection.close()


async def make(asked: Asked) -> AioPika:
    """Return it, connected."""
    side = AioPika(asked)
    await side.start()
    return side


if __name__ == "__main__":
    main(make)
