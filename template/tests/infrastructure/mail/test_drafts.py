"""What a mail says, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from email import message_from_bytes
from email.policy import SMTP

import pytest

from app.core.clock import ManualClock
from app.infrastructure.logger import bind_context
from app.infrastructure.logger.testing import LogLines
from app.infrastructure.mail import (
    EmailService,
    InvalidMailError,
    MailTemplateError,
    MailUnavailableError,
)
from app.infrastructure.mail.draft import EmailDraft
from app.infrastructure.mail.testing import Mailbox
from tests.infrastructure.mail.conftest import email_service

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"


@pytest.fixture
def letters(mailbox: Mailbox) -> EmailService:
    """A service that sends into the mailbox, without the rest."""
    return email_service(mailbox)


async def test_a_mail_has_text_html_and_headers(letters: EmailService, mailbox: Mailbox) -> None:
    message_id = await letters.to(f"Ada Lovelace <{ADA}>").template("hello").send({"name": "Ada"})

    message = mailbox.last
    assert message["From"] == "Shop <shop@example.com>"
    assert message["To"] == f"Ada Lovelace <{ADA}>"
    assert message["Subject"] == "Hello Ada"
    assert message["Date"] == "Thu, 01 Jan 2026 00:00:00 +0000"
    assert message["Message-ID"] == message_id
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"
    assert mailbox.text() == "Dear Ada,\n\nwelcome.\n"
    assert mailbox.html().strip() == "<html><body><p>Dear Ada</p></body></html>"


async def test_recipients_of_all_kinds_get_it_once(letters: EmailService, mailbox: Mailbox) -> None:
    """Who is in Bcc is in the envelope alone."""
    draft = letters.to(ADA, BOB).cc(BOB).bcc(EVE).reply_to("help@example.com")
    await draft.subject("Tea").send_message("At five.")

    assert mailbox.envelopes[0].recipients == (ADA, BOB, EVE)
    assert mailbox.last["To"] == f"{ADA}, {BOB}"
    assert mailbox.last["Cc"] == BOB
    assert mailbox.last["Reply-To"] == "help@example.com"
    assert EVE not in mailbox.last.as_string()
    assert [len(mailbox.to(one)) for one in (ADA, EVE, "nobody@example.com")] == [1, 1, 0]


async def test_each_draft_is_its_own(letters: EmailService, mailbox: Mailbox) -> None:
    """A draft that is continued twice makes two mails that know nothing of each other."""
    draft = letters.to(ADA).subject("One")
    other = draft.subject("Two").cc(BOB)
    await draft.send_message("1")
    await other.send_message("2")
    await letters.to(EVE).subject("Three").send_message("3")

    assert [envelope.recipients for envelope in mailbox.envelopes] == [(ADA,), (ADA, BOB), (EVE,)]
    assert [message["Subject"] for message in mailbox] == ["One", "Two", "Three"]


async def test_attachments_go_along(letters: EmailService, mailbox: Mailbox) -> None:
    draft = letters.to(ADA).subject("Files").attach("a.pdf", b"%PDF", "application/pdf")
    await draft.attach("Zoë.txt", "naïve".encode(), "text/plain").send_message("See.", "<p>See.")

    found = list(mailbox.last.iter_attachments())
    assert [part.get_filename() for part in found] == ["a.pdf", "Zoë.txt"]
    assert [part.get_content_type() for part in found] == ["application/pdf", "text/plain"]
    assert found[0].get_content() == b"%PDF"
    assert mailbox.html().strip() == "<p>See."


async def test_the_caller_s_language_is_chosen(letters: EmailService, mailbox: Mailbox) -> None:
    """The nearest there is; a variant without HTML sends none."""
    hello = letters.to(ADA).template("hello")
    with bind_context(locale="de-AT"):
        await hello.send({"name": "Ada"})
        assert (mailbox.last["Subject"], mailbox.html()) == ("Hallo Ada", "")
        assert mailbox.last["Content-Language"] == "de"
        await hello.locale("fr").send({"name": "Ada"})
        assert mailbox.last["Subject"] == "Hello Ada"
        assert mailbox.last["Content-Language"] is None
    with bind_context(locale="../../etc"):
        await hello.send({"name": "Ada"})
        assert mailbox.last["Subject"] == "Hello Ada"


async def test_one_key_is_one_message_id(letters: EmailService) -> None:
    """Whatever is sent under it; another key, or none, is another mail."""
    tea = letters.to(ADA).subject("Tea")
    first = await tea.key("order:7").send_message("one")
    assert await letters.to(BOB).subject("Cake").key("order:7").send_message("two") == first
    ids = {first, await tea.key("order:8").send_message("one")}
    ids |= {await tea.send_message("one"), await tea.send_message("one")}
    assert len(ids) == 4


async def test_a_mail_has_the_same_message_id_at_each_attempt_of_a_job(
    letters: EmailService,
) -> None:
    """And differs where what is said or who gets it does, or where the job is another."""
    tea, cake = letters.to(ADA).subject("Tea"), letters.to(BOB).subject("Tea")
    with bind_context(work_id="job-1"):
        first = await tea.send_message("one")
        assert await tea.send_message("one") == first
        assert await tea.send_message("two") != first
        assert await cake.send_message("one") != first
    with bind_context(work_id="job-2"):
        assert await tea.send_message("one") != first


WORD = "=?utf-8?q?a=0D=0ABcc:_eve=40example.com?="
"""What `email` decodes before it writes a header (RFC 2047): two lines."""
NO_ADDRESSES = [
    "",
    "ada",
    "@example.com",
    "ada@",
    "ada@example.com, bob@example.com",
    "ada@example.com bob@example.com",
    "a,b@example.com",
    "ada@example.com\r\nBcc: eve@example.com",
    "Ada\n<ada@example.com>",
    "ada@example.org)@example.com",
    "<ada@example.com><eve@example.com>",
    "Ada <ada@example.com> Eve",
    f"{'a' * 243}@example.com",
    "ada@ex..ample.com",
    "ada@\x00example.com",
    "Ada <>",
    f"{WORD} <ada@example.com>",
    f"{WORD}@example.com",
    "zoë@example.com",  # needs SMTPUTF8 (RFC 6531) all the way, which few servers have
]


@pytest.mark.parametrize("address", NO_ADDRESSES)
async def test_what_is_no_address_is_refused(letters: EmailService, address: str) -> None:
    """And is not repeated: errors are logged."""
    adding: list[Callable[[str], EmailDraft]] = [
        letters.to,
        letters.to(ADA).cc,
        letters.to(ADA).bcc,
        letters.to(ADA).reply_to,
    ]
    for add in adding:
        with pytest.raises(InvalidMailError, match="not one mail address") as caught:
            add(address)
        assert "eve@" not in str(caught.value)


async def test_in_a_job_mails_with_other_attachments_are_others(letters: EmailService) -> None:
    """They have the same text: who took them for one would show the first invoice only."""
    draft = letters.to(ADA).subject("Your invoice")
    with bind_context(work_id="job-1"):
        sent = [
            await draft.attach(name, content).send_message("See the attachment.")
            for name, content in [
                ("1.pdf", b"1"),
                ("1.pdf", b"2"),
                ("2.pdf", b"2"),
                ("1.pdf", b"1"),
            ]
        ]
    assert len(set(sent)) == 3
    assert sent[0] == sent[3]


async def test_a_domain_in_other_letters_is_sent_as_idna(
    letters: EmailService, mailbox: Mailbox
) -> None:
    await letters.to("Zoë <zoe@bücher.example>").subject("Grüße").send_message("Äh")
    assert mailbox.envelopes[0].recipients == ("zoe@xn--bcher-kva.example",)
    assert mailbox.last["Subject"] == "Grüße"


async def test_a_long_name_stays_one_mailbox(letters: EmailService, mailbox: Mailbox) -> None:
    name = "Example International Holdings, Department of Public Relations, Vienna Office"
    await letters.to(f'"{name}" <a@example.com>', BOB).subject("Tea").send_message("At five.")
    sent = message_from_bytes(bytes(mailbox.last), policy=SMTP)
    assert len(sent["To"].addresses) == 2
    assert sent["To"].addresses[0].addr_spec == "a@example.com"


async def test_addresses_stay_apart_wherever_a_line_ends(
    letters: EmailService, mailbox: Mailbox
) -> None:
    for length in range(1, 60):
        many = [f"Jörg Müller <{'j' * length}@example.com>", '"Ö, Zoë" <zoe@example.com>', BOB]
        await letters.to(*many).cc(*many).subject("Tea").send_message("At five.")
        sent = message_from_bytes(bytes(mailbox.last), policy=SMTP)
        for name in ("To", "Cc"):
            found = [(item.display_name, item.addr_spec) for item in sent[name].addresses]
            assert found[:2] == [
                ("Jörg Müller", f"{'j' * length}@example.com"),
                ("Ö, Zoë", "zoe@example.com"),
            ]
            assert len(found) == 3


@pytest.mark.parametrize(
    "text", ["", "Tea\r\nBcc: eve@example.com", "Tea\nX: y", "x" * 999, "\x00", WORD, f"Tea {WORD}"]
)
async def test_a_subject_is_one_line(letters: EmailService, mailbox: Mailbox, text: str) -> None:
    """Also one that a template makes of a value: no header comes in that way."""
    with pytest.raises(InvalidMailError, match="a subject is one line"):
        await letters.to(ADA).subject(text).send_message("At five.")
    if text:
        with pytest.raises(InvalidMailError, match="a subject is one line"):
            await letters.to(ADA).template("hello").send({"name": text})
    assert len(mailbox) == 0


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("", "text/plain"),
        ("a\r\nX: y", "text/plain"),
        (WORD, "text/plain"),
        ("../a", "text/plain"),
        ("a", "text"),
        ("a", "message/rfc822"),
        ("a", "text/plain\r\nX: y"),
    ],
)
async def test_an_attachment_needs_a_name_and_a_type(
    letters: EmailService, name: str, media_type: str
) -> None:
    with pytest.raises(InvalidMailError, match="an attachment has"):
        letters.to(ADA).attach(name, b"", media_type)


async def test_a_language_is_one_word(letters: EmailService, mailbox: Mailbox) -> None:
    for tag in (WORD, "de\r\nX: y"):
        with pytest.raises(InvalidMailError, match="a language is a tag"):
            await letters.to(ADA).subject("Tea").locale(tag).send_message("At five.")
    assert len(mailbox) == 0


async def test_what_can_not_be_sent_says_why(letters: EmailService, mailbox: Mailbox) -> None:
    everybody = [f"user{number}@example.com" for number in range(101)]
    with pytest.raises(InvalidMailError, match="1 to 100 recipients, this one has 101"):
        await letters.to(*everybody).subject("Hi").send_message("Hi")
    with pytest.raises(InvalidMailError, match="name a template"):
        await letters.to(ADA).send({})
    with pytest.raises(InvalidMailError, match="1 to 200 characters"):
        letters.to(ADA).key("")
    with pytest.raises(MailTemplateError, match="did you mean 'hello'"):
        await letters.to(ADA).template("helo").send({})
    small = email_service(mailbox, mail_max_size=2048)
    with pytest.raises(InvalidMailError, match="MAIL_MAX_SIZE allows 2048"):
        await small.to(ADA).subject("Big").attach("a.bin", b"x" * 2000).send_message("See.")
    assert len(mailbox) == 0


async def test_the_log_names_neither_recipient_nor_text(
    letters: EmailService, mailbox: Mailbox, log_lines: LogLines
) -> None:
    await letters.to(f"Ada <{ADA}>").template("hello").send({"name": "Secret"})
    mailbox.failure = MailUnavailableError()
    with pytest.raises(MailUnavailableError):
        await letters.to(ADA).template("hello").send({"name": "Secret"})

    (line,) = [line for line in log_lines if line["message"].startswith("Mail sent")]
    assert (line["message"], line["template"]) == ("Mail sent to 1 recipients", "hello")
    assert line["message_id"] == mailbox.last["Message-ID"]
    assert not [line for line in log_lines if ADA in str(line) or "Secret" in str(line)]


async def test_the_date_is_the_clock_s(mailbox: Mailbox) -> None:
    clock = ManualClock()
    clock.current = clock.current.replace(year=2031)
    await email_service(mailbox, clock).to(ADA).subject("Now").send_message("Now")
    assert mailbox.last["Date"] == "Wed, 01 Jan 2031 00:00:00 +0000"


async def test_the_service_s_own_mails_are_in_the_mailbox(
    email: EmailService, mailbox: Mailbox
) -> None:
    """As a test of user code sees it: the started service, and the fixture."""
    await email.to(ADA).template("hello").send({"name": "Ada"})
    assert mailbox.last["Subject"] == "Hello Ada"
    assert mailbox.text().startswith("Dear Ada")
