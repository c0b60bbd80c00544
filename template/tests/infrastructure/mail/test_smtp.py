"""Against a real mail server (aiosmtpd) that answers as it is told."""

from __future__ import annotations

import asyncio
import ssl
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.core.clock import ManualClock
from app.infrastructure.mail import (
    EmailService,
    MailError,
    MailPartlyRefusedError,
    MailRefusedError,
    MailUnavailableError,
    health,
)
from app.infrastructure.mail.address import SmtpAddress
from app.infrastructure.mail.health import MailProbe
from app.infrastructure.mail.smtp import SmtpTransport
from tests.infrastructure.mail.conftest import (
    PASSWORD,
    USER,
    Serve,
    Server,
    email_service,
    mail_settings,
)

PATIENCE = 60.0
ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"
TLS = tuple[ssl.SSLContext, Path]


def transport_to(server: Server, how: str = "smtp://{}?tls=none", **more: Any) -> SmtpTransport:
    settings = mail_settings(how.format(f"127.0.0.1:{server.port}"), **more)
    assert isinstance(settings.address, SmtpAddress)
    return SmtpTransport(settings.address, settings)


def letters_to(server: Server, how: str = "smtp://{}?tls=none", **more: Any) -> EmailService:
    return email_service(transport_to(server, how, **more))


async def test_a_mail_arrives_as_it_was_written(server: Server) -> None:
    """Lines of a dot, long lines and other letters included; Bcc is nowhere in it."""
    text = "Grüße\n.\n..\n" + "x" * 2000 + "\n"
    draft = letters_to(server).to(f"Ada <{ADA}>").bcc(EVE).subject("Ä " + "long " * 40)
    message_id = await draft.attach("a.bin", bytes(range(256))).send_message(text, "<p>ü</p>")

    assert server.got[0].mail_from == "shop@example.com"
    assert server.got[0].rcpt_tos == [ADA, EVE]
    message = server.message()
    assert (message["Message-ID"], message["To"]) == (message_id, f"Ada <{ADA}>")
    assert message["Subject"] == ("Ä " + "long " * 40).strip() or message["Subject"].startswith("Ä")
    body = message.get_body(("plain",))
    assert body is not None
    assert body.get_content().replace("\r\n", "\n") == text
    assert next(message.iter_attachments()).get_content() == bytes(range(256))
    assert EVE not in message.as_string()


async def test_mails_go_through_starttls(serve: Serve, authority: TLS) -> None:
    context, ca = authority
    async with serve(context, require_starttls=True) as server:
        await (
            letters_to(server, "smtp://{}", mail_tls_ca=ca)
            .to(ADA)
            .template("hello")
            .send({"name": "Ada"})
        )
        assert server.secure == [True]


async def test_mails_go_through_tls_with_a_login(
    serve: Serve, authority: TLS, login: dict[str, Any]
) -> None:
    context, ca = authority
    async with serve(context, implicit=True, **login) as server:
        url = f"smtps://{USER}:{PASSWORD.replace(' ', '%20')}@{{}}"
        await letters_to(server, url, mail_tls_ca=ca).to(ADA).subject("Tea").send_message("-")
        assert server.logged_in == [True]


async def test_nothing_is_said_to_a_server_without_tls(server: Server) -> None:
    """`smtp://` means with STARTTLS: an attacker who takes the offer away gets nothing."""
    with pytest.raises(MailUnavailableError, match="can't be used: SMTP"):
        await letters_to(server, f"smtp://{USER}:x@{{}}").to(ADA).subject("Tea").send_message("-")
    assert server.commands == []


async def test_a_certificate_nobody_vouches_for_is_refused(serve: Serve, authority: TLS) -> None:
    async with serve(authority[0], require_starttls=True) as server:
        with pytest.raises(MailUnavailableError, match="can't be used"):
            await letters_to(server, "smtp://{}").to(ADA).subject("Tea").send_message("-")
    async with serve(authority[0], implicit=True) as server:
        with pytest.raises(MailUnavailableError, match="can't be used"):
            await letters_to(server, "smtps://{}").to(ADA).subject("Tea").send_message("-")
    assert server.got == []


async def test_a_wrong_password_can_be_mended(serve: Serve, login: dict[str, Any]) -> None:
    """It is a matter of the settings, not of the mail: another try may help."""
    async with serve(**login) as server:
        with pytest.raises(MailUnavailableError, match="535") as caught:
            url = f"smtp://{USER}:wrong@{{}}?tls=none"
            await letters_to(server, url).to(ADA).subject("Tea").send_message("-")
        assert caught.value.repeatable
        assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    ("answer", "error", "repeatable"),
    [
        (f"451 4.7.1 <{ADA}>: greylisted,\n try {ADA} later", MailUnavailableError, True),
        (f"550 5.1.1 <{ADA}>: no {ADA} here", MailRefusedError, False),
        ("421 4.3.2 going down", MailUnavailableError, True),
        ("552 5.2.2 full", MailRefusedError, False),
    ],
)
async def test_what_a_server_refuses_says_whether_to_try_again(
    server: Server, command: str, answer: str, error: type[MailError], *, repeatable: bool
) -> None:
    """4xx: now; 5xx: ever (RFC 5321 §4.2.1). No text, and no traceback, names a recipient."""
    server.answers[command] = answer.replace("\n", "")
    with pytest.raises(error, match=answer[:3]) as caught:
        await letters_to(server).to(ADA).subject("Tea").send_message("-")

    assert type(caught.value) is error
    assert caught.value.repeatable is repeatable
    assert ADA not in "".join(traceback.format_exception(caught.value))
    assert server.got == []
    server.answers.clear()
    await letters_to(server).to(ADA).subject("Tea").send_message("-")
    assert len(server.got) == 1


async def test_a_mail_that_some_can_not_get_is_not_sent_again(server: Server) -> None:
    """The others have it."""
    server.answers[f"RCPT {BOB}"] = "450 4.2.1 busy"
    with pytest.raises(MailPartlyRefusedError, match="for 1 of 3 recipients: 450") as caught:
        await letters_to(server).to(ADA, BOB, EVE).subject("Tea").send_message("-")
    assert not caught.value.repeatable
    assert server.got[0].rcpt_tos == [ADA, EVE]


async def test_nobody_gets_it_now_and_some_never_is_tried_again(server: Server) -> None:
    server.answers |= {f"RCPT {ADA}": "550 5.1.1 no", f"RCPT {BOB}": "450 4.2.1 busy"}
    with pytest.raises(MailUnavailableError, match=r"550 5\.1\.1 no; 450 4\.2\.1 busy"):
        await letters_to(server).to(ADA, BOB).subject("Tea").send_message("-")


@pytest.mark.parametrize("command", ["MAIL", "DATA"])
async def test_a_server_that_hangs_is_left(server: Server, command: str) -> None:
    server.delays[command] = 600.0
    with pytest.raises(MailUnavailableError, match=r"in time|MAIL_TIMEOUT"):
        async with asyncio.timeout(PATIENCE):
            await letters_to(server, mail_timeout=0.2).to(ADA).subject("Tea").send_message("-")


async def test_a_goodbye_that_is_not_answered_changes_nothing(server: Server) -> None:
    """The mail is taken: an error now would have it sent again."""
    server.answers["QUIT"] = "500 what"
    await letters_to(server).to(ADA).subject("Tea").send_message("-")
    assert len(server.got) == 1


@asynccontextmanager
async def black_hole(*, closes: bool = False) -> AsyncIterator[Server]:
    """Take connections, and say nothing, or hang up."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not closes:
                await reader.read()  # until the client has left
        finally:
            writer.close()

    listening = await asyncio.start_server(meet, "127.0.0.1", 0)
    async with listening:
        yield Server(port=listening.sockets[0].getsockname()[1])


@pytest.mark.parametrize("how", ["smtp://{}?tls=none", "smtp://{}", "smtps://{}"])
@pytest.mark.parametrize("closes", [True, False])
async def test_a_server_that_says_nothing_is_left(how: str, *, closes: bool) -> None:
    async with black_hole(closes=closes) as server, asyncio.timeout(PATIENCE):
        with pytest.raises(MailUnavailableError):
            await letters_to(server, how, mail_timeout=0.2).to(ADA).subject("-").send_message("-")


async def test_a_server_that_is_not_there_is_an_error_to_try_again(unused_port: int) -> None:
    with pytest.raises(MailUnavailableError, match=f"127.0.0.1:{unused_port}"):
        await letters_to(Server(unused_port)).to(ADA).subject("Tea").send_message("-")


@pytest.fixture
async def unused_port() -> int:
    """A port nobody listens on."""
    async with black_hole() as server:
        return server.port


async def test_few_connections_are_open_at_the_same_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = now = 0
    answer = server.handle_DATA

    async def counted(*args: Any) -> str:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        return await answer(*args)

    monkeypatch.setattr(server, "handle_DATA", counted)
    letters = letters_to(server, mail_connections=2)
    drafts = [letters.to(ADA).subject(str(number)) for number in range(8)]
    await asyncio.gather(*(draft.send_message("-") for draft in drafts))
    assert (len(server.got), most) == (8, 2)


async def test_the_health_check_believes_for_a_while(server: Server) -> None:
    """It says nothing but NOOP, and asks again when the interval is over."""
    clock, transport = ManualClock(), transport_to(server)
    probe = MailProbe(transport, mail_settings("smtp://h", mail_health_interval=60), clock)
    found = await asyncio.gather(*(probe.look() for _ in range(5)))
    assert found == [{"transport": "smtp", "security": "none"}] * 5
    assert server.commands.count("NOOP") == 1

    server.answers["NOOP"] = "451 4.3.0 no"
    assert await probe.look() == found[0]
    clock.elapsed += 60
    for _ in range(2):
        with pytest.raises(MailUnavailableError, match="451"):
            await probe.look()
    assert server.commands.count("NOOP") == 2
    assert server.got == []


async def test_the_health_check_believes_that_there_is_no_answer(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or that the server refuses: else each look would wait for it, and log in, again."""
    monkeypatch.setattr(health, "LOOK_SECONDS", 1.0)
    clock, transport = ManualClock(), transport_to(server)
    probe = MailProbe(transport, mail_settings("smtp://h", mail_health_interval=60), clock)
    server.delays["NOOP"] = 600.0
    async with asyncio.timeout(PATIENCE):
        for _ in range(3):
            with pytest.raises(MailUnavailableError, match=r"within 1 s"):
                await probe.look()
    assert server.commands.count("NOOP") == 1

    monkeypatch.setattr(health, "LOOK_SECONDS", PATIENCE)
    server.delays.clear()
    server.answers["NOOP"] = "550 5.7.1 not you"
    clock.elapsed += 60
    for _ in range(3):
        with pytest.raises(MailUnavailableError, match="550"):
            await probe.look()
    assert server.commands.count("NOOP") == 2
