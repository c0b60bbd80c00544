"""What users of the service get for their own tests."""

from __future__ import annotations

from httpx2 import AsyncClient

from app.infrastructure.rate_limiter.memory import MemoryStore


async def test_without_a_fixture_nothing_is_counted(client: AsyncClient) -> None:
    answers = [await client.get("/nothing") for _ in range(110)]

    assert {answer.status_code for answer in answers} == {404}
    assert answers[-1].headers["ratelimit"] == '"default";r=100;t=0'


async def test_limits_may_be_counted_in_memory_and_forgotten(
    limits_in_memory: MemoryStore, client: AsyncClient
) -> None:
    answers = [await client.get("/nothing") for _ in range(101)]
    assert [answer.status_code for answer in answers[-2:]] == [404, 429]

    limits_in_memory.reset()

    assert (await client.get("/nothing")).status_code == 404
