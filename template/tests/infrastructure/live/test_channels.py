"""Channels: how they are declared, who may follow them, what of an event is shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from dishka import AsyncContainer

from app.core.container import build_container
from app.core.discovery import Registry, discover
from app.core.errors import BadRequestError, ConfigurationError, UnauthorizedError
from app.core.events import Envelope
from app.core.module import Module
from app.core.settings import AppSettings, Environment, load_settings
from app.infrastructure.event_bus import EventBus, Follower, Received
from app.infrastructure.live import (
    Access,
    Authenticator,
    Channel,
    ChannelCatalog,
    ChannelForbiddenError,
    Clients,
    Credentials,
    CredentialsExpiredError,
    Identity,
    LiveClient,
    Selection,
    TooManyChannelsError,
    TooManyClientsError,
    UnknownChannelError,
    Viewer,
)
from app.infrastructure.live.messages import Messages
from app.infrastructure.live.settings import LiveSettings
from app.infrastructure.logger import bind_context
from tests.infrastructure.live.program import CHANNELS, authenticate

ADA = Viewer("ada")


def envelope(name: str = "tick.happened", **data: Any) -> Envelope:
    known = {"number": 1, "owner": None, "topic": None, **data}
    return Envelope(
        id=uuid4(),
        name=name,
        version=1,
        occurred_at=datetime(2026, 1, 2, tzinfo=UTC),
        source="test",
        known_data=known,
    )


def registry(*contributes: object) -> Registry:
    known = [m for m in discover().modules if m.name in {"logger", "health", "event_bus", "live"}]
    return Registry((*known, Module(name="probe", summary="test", contributes=contributes)))


def container_of(*contributes: object) -> AsyncContainer:
    found = registry(*contributes)
    return build_container(found, load_settings(found.modules))


async def catalog(*contributes: object) -> ChannelCatalog:
    return await container_of(*(contributes or CHANNELS)).get(ChannelCatalog)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "Ticks"}, "begin with a small letter"),
        ({"name": "a:b"}, "begin with a small letter"),
        ({"events": ()}, "no events"),
        ({"events": ("TICK",)}, "no pattern"),
        ({"access": Access.OWN}, "needs owner="),
    ],
)
def test_what_can_not_be_a_channel_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Channel(**{"name": "ticks", "events": ("tick.*",), **options})


async def test_two_channels_of_one_name_are_refused() -> None:
    one, two = (Channel(name="ticks", events=(f"{word}.*",)) for word in ("a", "b"))
    with pytest.raises(ConfigurationError, match="rename one of them"):
        await catalog(one, two)


async def test_a_client_gets_what_it_asks_for_once() -> None:
    chosen = await (await catalog()).select(["ticks", "ticks:7", "ticks"], None)
    assert list(map(str, chosen)) == ["ticks", "ticks:7"]


@pytest.mark.parametrize(
    ("names", "viewer", "error"),
    [
        ([], ADA, BadRequestError),
        (["nothing"], ADA, UnknownChannelError),
        (["news:7"], ADA, UnknownChannelError),  # it has no topics
        (["ticks:"], ADA, UnknownChannelError),
        (["ticks:a b"], ADA, UnknownChannelError),
        (["news"], None, UnauthorizedError),
        (["mine"], None, UnauthorizedError),
        (["rooms"], ADA, ChannelForbiddenError),
        (["rooms:bob"], ADA, ChannelForbiddenError),
        ([f"ticks:{n}" for n in range(51)], ADA, TooManyChannelsError),
    ],
)
async def test_what_a_client_may_not_have_is_refused(
    names: list[str], viewer: Viewer | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await (await catalog()).select(names, viewer)


async def test_a_module_decides_who_may_follow_a_topic() -> None:
    (chosen,) = await (await catalog()).select(["rooms:ada"], ADA)
    assert chosen.topic == "ada"


def test_a_selection_takes_its_events_only() -> None:
    ticks, news, mine, _ = CHANNELS
    assert Selection(ticks).takes(envelope(), None)
    assert not Selection(ticks).takes(envelope("news.told"), None)
    assert Selection(ticks, "7").takes(envelope(topic="7"), None)
    assert not Selection(ticks, "7").takes(envelope(topic="8"), None)
    assert not Selection(ticks, "7").takes(envelope(), None)
    assert Selection(news).takes(envelope("news.told"), ADA)
    assert Selection(mine).takes(envelope(owner="ada"), ADA)
    for other in (envelope(owner="bob"), envelope()):
        assert not Selection(mine).takes(other, ADA)
    assert not Selection(mine).takes(envelope(owner="ada"), None)


async def follow(viewer: Viewer | None, *channels: Channel) -> tuple[LiveClient, Follower]:
    client = LiveClient(viewer, map(Selection, channels), Messages(), lambda: None)
    follower = Follower(client.wants, 10)
    client.begin(await container_of().get(EventBus), follower)
    return client, follower


async def test_a_channel_that_fails_takes_nothing_from_the_others() -> None:
    """A stream that ended with it would come back, read on there, and end with it again."""

    def fail(_: Envelope) -> str:
        raise ZeroDivisionError

    broken = Channel(name="broken", events=("tick.*",), access=Access.OWN, owner=fail)
    client, follower = await follow(ADA, CHANNELS[0], broken)
    follower.take(Received("5-0", envelope()))

    text = (await client.next(1)).text
    assert text is not None
    assert json.loads(text)["channels"] == ["ticks"]


async def test_who_reads_all_the_time_is_not_forgotten_when_his_credentials_end() -> None:
    late = Viewer("ada", datetime.now(UTC) - timedelta(seconds=1))
    client, follower = await follow(late, CHANNELS[0])
    follower.take(Received("5-0", envelope()))

    with pytest.raises(CredentialsExpiredError):
        await client.next(1)


def test_an_event_is_shown_as_its_channel_says_and_written_once() -> None:
    news = Selection(CHANNELS[1])
    messages, received = Messages(), Received("5-0", envelope("news.told", number=3, secret="x"))
    text = messages.write(received, [news])
    assert text is not None
    assert messages.write(received, [news]) is text
    shown = json.loads(text)
    assert shown["data"] == {"number": 3}
    assert (shown["type"], shown["position"], shown["channels"]) == ("event", "5-0", ["news"])
    assert (shown["name"], shown["version"]) == ("news.told", 1)


def test_an_event_a_channel_can_not_show_is_left_out() -> None:
    received = Received("5-0", envelope("news.told", number=-1))
    assert Messages().write(received, [Selection(CHANNELS[1])]) is None


async def identity(env: Environment, *, anonymous: bool = False, known: bool = True) -> Identity:
    who = (Authenticator(authenticate=authenticate),) if known else ()
    found = registry(*who)
    settings = LiveSettings(live_anonymous=anonymous)
    return Identity(found, container_of(*who), settings, AppSettings(app_env=env))


@pytest.mark.parametrize(
    "given", [Credentials("user-ada"), Credentials(None, {"session": "user-ada"})]
)
async def test_a_token_or_a_cookie_says_who_is_asking(given: Credentials) -> None:
    assert await (await identity(Environment.PRODUCTION)).viewer(given) == ADA


@pytest.mark.parametrize("known", [True, False])
async def test_a_wrong_token_is_never_nobody(known: bool) -> None:
    who = await identity(Environment.DEVELOPMENT, anonymous=True, known=known)
    with pytest.raises(UnauthorizedError):
        await who.viewer(Credentials("wrong"))


async def test_credentials_that_have_ended_are_refused() -> None:
    async def late(_: AsyncContainer, _given: Credentials) -> Viewer:
        return Viewer("ada", datetime.now(UTC) - timedelta(seconds=1))

    who = (Authenticator(authenticate=late),)
    app = AppSettings(app_env=Environment.TEST)
    found = Identity(registry(*who), container_of(*who), LiveSettings(), app)
    with pytest.raises(UnauthorizedError):
        await found.viewer(Credentials("user-ada"))


async def test_who_is_not_known_may_follow_in_production_only_where_that_is_said() -> None:
    with pytest.raises(UnauthorizedError) as refused:
        await (await identity(Environment.PRODUCTION)).viewer(Credentials())
    assert refused.value.headers == {"WWW-Authenticate": "Bearer"}
    assert await (await identity(Environment.DEVELOPMENT)).viewer(Credentials()) is None
    opened = await identity(Environment.PRODUCTION, anonymous=True)
    assert await opened.viewer(Credentials()) is None


def test_credentials_are_not_shown() -> None:
    shown = repr(Credentials("secret-token", {"session": "secret-cookie"}))
    assert "secret" not in shown


async def test_a_network_of_ipv6_is_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has one machine has 2^64 addresses, and would take the streams of all others."""
    monkeypatch.setenv("LIVE_CLIENTS_PER_ADDRESS", "1")
    clients = await container_of().get(Clients)

    with bind_context(client_address="2001:db8::1"), clients._counted(None):
        neighbour, refused = bind_context(client_address="2001:db8::2"), TooManyClientsError
        with neighbour, pytest.raises(refused), clients._counted(None):
            pass
        for other in ("2001:db8:0:1::1", "192.0.2.1", "192.0.2.2", "/run/app.sock"):
            with bind_context(client_address=other), clients._counted(None):
                pass
