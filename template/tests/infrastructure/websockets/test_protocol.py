"""`/ws`, in a real process."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.infrastructure.live.service import Api
from tests.infrastructure.websockets.conftest import talking

ADA = {"Authorization": "Bearer user-ada"}


async def test_it_says_hello_and_brings_events_in_order(api: Api) -> None:
    async with talking(api, "channels=ticks", subprotocols=[Subprotocol("live.v1")]) as talk:
        hello = await talk.next()
        await api.publish(first=1, count=20)
        assert await talk.numbers(20) == list(range(1, 21))
        assert talk.connection.subprotocol == "live.v1"
    assert hello["type"] == "hello"
    assert (hello["protocol"], hello["channels"], hello["heartbeat"]) == ("live.v1", ["ticks"], 0.3)
    assert hello["position"]


async def test_channels_come_and_go(api: Api) -> None:
    """From the answer on: not before, not after."""
    async with talking(api) as talk:
        assert (await talk.next())["channels"] == []
        await api.publish(first=1)
        ack = await talk.ask("subscribe", channels=["ticks:a"])
        assert (ack["type"], ack["id"], ack["channels"]) == ("ack", "1", ["ticks:a"])
        await api.publish(first=2)
        await api.publish(first=3, topic="a")
        assert await talk.numbers(1) == [3]
        assert (await talk.ask("subscribe", channels=["ticks"]))["channels"] == ["ticks:a", "ticks"]
        await api.publish(first=4, topic="a")
        event = await talk.until("event")
        assert (event["data"]["number"], event["channels"]) == (4, ["ticks:a", "ticks"])
        gone = await talk.ask("unsubscribe", channels=["ticks", "never-followed"])
        assert gone["channels"] == ["ticks:a"]
        await api.publish(first=5)
        await api.publish(first=6, topic="a")
        assert await talk.numbers(1) == [6]


@pytest.mark.parametrize(
    ("channels", "problem"),
    [
        (["none"], "unknown-channel"),
        (["news"], "unauthorized"),
        (["ticks:1", "ticks:2", "ticks:3", "ticks:4"], "too-many-channels"),
        ([], "invalid-command"),
    ],
)
async def test_what_can_not_be_followed_is_an_error_and_the_stream_goes_on(
    api: Api, channels: list[str], problem: str
) -> None:
    async with talking(api, "channels=ticks:x") as talk:
        error = await talk.ask("subscribe", channels=channels)
        assert (error["type"], error["problem"]) == ("error", problem)
        assert error["detail"]
        await api.publish(topic="x")
        assert await talk.numbers(1) == [1]


async def test_a_ping_is_answered_and_silence_is_broken(api: Api) -> None:
    async with talking(api) as talk:
        assert await talk.ask("ping") == {"type": "pong", "id": "1"}
        alive = await talk.until("alive")
        await api.publish()
        while (await talk.until("alive"))["position"] == alive["position"]:
            pass


async def test_a_user_gets_what_is_his_however_he_says_who_he_is(api: Api) -> None:
    """By a header, by a cookie, or by a subprotocol, which is all a page can set."""
    token = [Subprotocol("live.v1"), Subprotocol("bearer.user-ada")]
    ways: list[dict[str, Any]] = [
        {"additional_headers": ADA},
        {"additional_headers": {"Cookie": "session=user-ada"}},
        {"subprotocols": token},
    ]
    for options in ways:
        async with talking(api, "channels=mine", **options) as talk:
            await talk.until("hello")
            for number, owner in enumerate(("bob", "ada"), 1):
                await api.publish(first=number, owner=owner)
            assert await talk.numbers(1) == [2]
            assert talk.connection.subprotocol in {None, "live.v1"}  # never the token
        await api.until(clients=0)


async def test_what_came_while_it_was_away_comes_first(api: Api) -> None:
    async with talking(api, "channels=ticks") as talk:
        seen = (await talk.next())["position"]
    await api.publish(first=1, count=3)
    async with talking(api, f"channels=ticks&after={seen}") as again:
        hello = await again.next()
        await api.publish(first=4)
        assert await again.numbers(4) == [1, 2, 3, 4]
    assert hello["position"] is None  # it has not seen what is to come
    await api.publish(first=5, count=3)
    async with talking(api, f"channels=ticks&after={seen}") as late:  # LIVE_REPLAY is 5
        hello, reset = await late.next(), await late.next()
    assert (reset["type"], reset["reason"]) == ("reset", "too-long-ago")
    assert hello["position"] is None  # it has not seen yet that something is missing
    assert reset["position"] is not None


@pytest.mark.parametrize(
    ("query", "options", "status", "kind"),
    [
        ("channels=none", {}, 404, "unknown-channel"),
        ("channels=news", {}, 401, "unauthorized"),
        ("", {"additional_headers": {"Authorization": "Bearer wrong"}}, 401, "unauthorized"),
        ("", {"subprotocols": [Subprotocol("bearer.wrong")]}, 401, "unauthorized"),
        ("channels=rooms:bob", {"additional_headers": ADA}, 403, "channel-forbidden"),
        (f"after={'1' * 101}", {}, 400, "bad-request"),
        ("", {"origin": "https://evil.example.com"}, 403, "foreign-origin"),
        ("", {"origin": "null"}, 403, "foreign-origin"),
    ],
)
async def test_a_refusal_is_a_problem_in_answer_to_the_handshake(
    api: Api, query: str, options: dict[str, Any], status: int, kind: str
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with talking(api, query, **options):
            pass
    answer = refused.value.response
    assert answer.status_code == status
    assert json.loads(answer.body or b"{}")["type"] == f"/problems/{kind}"


async def test_pages_of_the_service_and_of_origins_that_are_named_may_connect(api: Api) -> None:
    for origin in (f"http://127.0.0.1:{api.port}", "https://shop.example.com"):
        async with talking(api, origin=origin) as talk:
            assert (await talk.next())["type"] == "hello"


async def test_a_user_may_have_so_many(api: Api) -> None:
    options: dict[str, Any] = {"additional_headers": ADA}
    async with talking(api, **options) as one, talking(api, **options):
        await one.next()
        with pytest.raises(InvalidStatus) as refused:
            async with talking(api, **options):
                pass
    assert refused.value.response.status_code == 429
    assert refused.value.response.headers["retry-after"] == "10"


@pytest.mark.parametrize(
    ("message", "code"),
    [(b"\x00\x01", 1003), ('{"type":"ping","id":"' + "x" * 20_000 + '"}', 1009)],
)
async def test_what_is_no_message_of_ours_ends_it(
    api: Api, message: str | bytes, code: int
) -> None:
    async with talking(api) as talk:
        await talk.next()
        await talk.connection.send(message)
        assert await talk.closed() == code


async def test_a_client_that_talks_nonsense_is_sent_away(api: Api) -> None:
    async with talking(api) as talk:
        for nonsense in ("{", '{"type":"dance"}', "[]"):
            await talk.connection.send(nonsense)
            assert (await talk.until("error"))["problem"] == "invalid-command"
        assert await talk.closed() == 1008


async def test_it_ends_with_the_credentials(api: Api) -> None:
    headers = {"Authorization": "Bearer short-ada"}
    async with talking(api, "channels=ticks", additional_headers=headers) as talk:
        await talk.next()
        assert await talk.closed() == 3000


async def test_a_plain_request_is_no_websocket(api: Api) -> None:
    assert (await api.http.get("/ws")).status_code == 404
