"""`GET /events`, in a real process."""

from __future__ import annotations

import pytest

from tests.infrastructure.live.service import Api

ADA = {"Authorization": "Bearer user-ada"}


async def test_a_stream_says_what_it_is_and_brings_events_in_order(api: Api) -> None:
    async with api.stream() as stream:
        kind = stream.answer.headers["content-type"]
        ready = await stream.next()
        await api.publish(first=1, count=20)
        numbers = await stream.numbers(20)
    assert kind.startswith("text/event-stream")
    assert stream.answer.headers["cache-control"] == "no-cache"
    assert ready is not None
    assert (ready.event, ready.data) == ("ready", {"channels": ["ticks"]})
    assert ready.id
    assert ready.retry is not None
    assert 1500 <= ready.retry <= 4500  # SSE_RETRY_INTERVAL, spread
    assert numbers == list(range(1, 21))


async def test_an_event_has_its_position_as_id(api: Api) -> None:
    async with api.stream() as stream:
        await stream.next()
        await api.publish(first=5)
        block = await stream.until("message")
    assert block.data["position"] == block.id
    assert block.data["channels"] == ["ticks"]
    assert block.data["name"] == "tick.happened"


async def test_a_topic_brings_its_events_only_and_one_event_comes_once(api: Api) -> None:
    """Also where it is in several of the channels."""
    async with api.stream("ticks:a,ticks:b", headers=ADA) as stream, api.stream() as all_of_it:
        await stream.next()
        await all_of_it.next()
        for number, topic in enumerate(("a", "c", "b"), 1):
            await api.publish(first=number, topic=topic)
        assert await stream.numbers(2) == [1, 3]
        assert await all_of_it.numbers(3) == [1, 2, 3]
    async with api.stream("ticks,mine,ticks:a", headers=ADA) as stream:
        await stream.next()
        await api.publish(first=1, topic="a", owner="ada")
        await api.publish(first=2)
        one, two = await stream.events(2)
    assert one["channels"] == ["ticks", "mine", "ticks:a"]
    assert two["channels"] == ["ticks"]


async def test_a_user_gets_what_is_his(api: Api) -> None:
    bob = {"Cookie": "session=user-bob"}
    async with api.stream("mine", headers=ADA) as hers, api.stream("mine", headers=bob) as his:
        await hers.next()
        await his.next()
        for number, owner in enumerate(("ada", "bob", "ada"), 1):
            await api.publish(first=number, owner=owner)
        await api.publish(first=4)
        assert await hers.numbers(2) == [1, 3]
        assert await his.numbers(1) == [2]


async def test_what_came_while_it_was_away_comes_first(api: Api) -> None:
    async with api.stream() as stream:
        await stream.next()
        await api.publish(first=1)
        await stream.numbers(1)
    await api.publish(first=2, count=3)
    async with api.stream(headers={"Last-Event-ID": stream.last_id or ""}) as again:
        ready = await again.next()
        await api.publish(first=5)
        assert await again.numbers(4) == [2, 3, 4, 5]
    assert ready is not None
    assert ready.id is None  # it has not seen what is to come


@pytest.mark.parametrize("last", ["too long ago", "nonsense", "99999999999999-0"])
async def test_what_can_not_be_brought_again_is_a_reset(api: Api, last: str) -> None:
    async with api.stream() as stream:
        await stream.next()
    await api.publish(count=6)  # LIVE_REPLAY is 5
    seen = (stream.last_id or "") if last == "too long ago" else last
    async with api.stream(headers={"Last-Event-ID": seen}) as again:
        ready, reset = await again.next(), await again.next()
        await api.publish(first=7)
        assert await again.numbers(1) == [7]
    assert ready is not None
    assert reset is not None
    assert (reset.event, reset.data) == ("reset", {"reason": "too-long-ago"})
    assert ready.id is None  # it has not seen yet that something is missing
    assert reset.id is not None


async def test_a_silent_stream_shows_that_it_is_alive_and_how_far_it_is(api: Api) -> None:
    """What is not for this client need not be looked through again when it comes back."""
    async with api.stream("ticks:nobody") as stream:
        await stream.next()
        await api.publish(count=10)
        seen = stream.last_id
        while stream.last_id == seen:
            block = await stream.next()
            assert block is not None
            assert block.comment == "alive"
    async with api.stream(headers={"Last-Event-ID": stream.last_id or ""}) as again:
        await again.next()
        await api.publish(first=11)
        assert await again.numbers(1) == [11]


@pytest.mark.parametrize(
    ("query", "headers", "status", "kind"),
    [
        ("", {}, 422, "invalid-request"),
        ("channels=,", {}, 400, "bad-request"),
        ("channels=none", {}, 404, "unknown-channel"),
        ("channels=news", {}, 401, "unauthorized"),
        ("channels=ticks", {"Authorization": "Bearer wrong"}, 401, "unauthorized"),
        ("channels=rooms:bob", ADA, 403, "channel-forbidden"),
        ("channels=ticks", {"Last-Event-ID": "1" * 101}, 400, "bad-request"),
    ],
)
async def test_a_refusal_is_a_problem(
    api: Api, query: str, headers: dict[str, str], status: int, kind: str
) -> None:
    answer = await api.http.get(f"/events?{query}", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{kind}")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_user_may_have_so_many_streams(api: Api) -> None:
    """And one more as soon as one is closed."""
    async with api.stream(headers=ADA) as one, api.stream(headers=ADA):
        await one.next()
        answer = await api.http.get("/events?channels=ticks", headers=ADA)
        assert answer.status_code == 429
        assert answer.json()["type"] == "/problems/too-many-clients"
        assert answer.headers["retry-after"] == "10"
        async with api.stream(headers={"Authorization": "Bearer user-eve"}) as other:
            await other.next()
    await api.until(clients=0)
    async with api.stream(headers=ADA) as again:
        assert await again.next() is not None


async def test_a_stream_ends_with_the_credentials(api: Api) -> None:
    async with api.stream(headers={"Authorization": "Bearer short-ada"}) as stream:
        end = await stream.until("end")
        assert end.data == {"reason": "credentials-expired"}
        assert await stream.next() is None


async def test_an_event_that_can_not_be_shown_stops_no_stream(api: Api) -> None:
    async with api.stream("news", headers=ADA) as stream:
        await stream.next()
        for number in (-1, 2):
            await api.http.post("/tell", params={"number": number})
        assert await stream.numbers(1) == [2]


async def test_a_client_that_goes_is_forgotten(api: Api) -> None:
    async with api.stream() as stream:
        await stream.next()
        assert (await api.counts())["clients"] == 1
        report = (await api.http.get("/health")).json()
    assert report["checks"]["live"]["status"] == "up"
    assert {"clients", "opened"} <= set(report["checks"]["live"]["details"])
    await api.until(clients=0)
