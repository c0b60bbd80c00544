"""Recording: what may be written, what is refused where it is written, and what is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr

from app.core.errors import ConfigurationError
from app.infrastructure.deferred import Call, Deferrable, InvalidCallError, Recorder, deferrable
from app.infrastructure.deferred.calls import read_envelope
from app.infrastructure.deferred.catalog import Catalog
from app.infrastructure.deferred.tasks import Record, recorded
from tests.infrastructure.deferred.services import (
    Colour,
    Draft,
    EmailService,
    Ledger,
    Order,
    Parcel,
    RushOrder,
    Size,
    Thing,
)

ADA = "ada@example.com"
ORDER = Order(id=UUID(int=7), placed=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC))
CATALOG = Catalog([Deferrable(EmailService), Deferrable(Ledger, name="Book", aliases=("Old",))])


def record(function: Record) -> list[Call]:
    return asyncio.run(recorded(CATALOG, function))


def written(call: Call) -> Any:
    return json.loads(call.envelope())


def test_a_chain_is_one_call_and_calls_keep_their_order() -> None:
    calls = record(
        lambda run: [
            run(Ledger).add(1),
            run(EmailService).to(ADA).template("hi", locale="de").print(),
            run(Ledger).add(2),
        ]
    )

    assert [call.path for call in calls] == [
        "Book.add",
        "EmailService.to.template.print",
        "Book.add",
    ]
    assert written(calls[1]) == {
        "version": 1,
        "calls": [
            {"method": "to", "arguments": {"address": ADA}},
            {"method": "template", "arguments": {"name": "hi", "locale": "de"}},
            {"method": "print", "arguments": {}},
        ],
    }


def test_a_class_is_found_by_its_name_too() -> None:
    by_type = record(lambda run: run(Ledger).add(1))

    assert record(lambda run: run.Book.add(1)) == by_type
    assert record(lambda run: run["Book"].add(1)) == by_type
    assert record(lambda run: run["Old"].add(1)) == by_type


def test_the_function_may_be_async_and_await_what_it_records() -> None:
    async def function(run: Recorder) -> None:
        await asyncio.sleep(0)
        draft = await run(EmailService).to(ADA).attach(b"\x00\xff", b"")
        await draft.send({"a": 1})

    (call,) = record(function)

    assert call.path == "EmailService.to.attach.send"
    assert written(call)["calls"][1]["arguments"] == {"pages": ["AP8=", ""]}


def test_one_provider_begins_several_chains() -> None:
    def function(run: Recorder) -> None:
        mail = run(EmailService)
        mail.to("a@example.com").print()
        mail.to("b@example.com").print()

    assert len(record(function)) == 2


def test_a_recorded_call_shows_what_was_written() -> None:
    (call,) = record(lambda run: run(EmailService).to(ADA).template("hi"))

    assert repr(call) == "EmailService.to(address='ada@example.com').template(name='hi')"


def test_arguments_are_kept_as_they_were() -> None:
    """What is changed after the call does not change the call."""
    values = [1, 2]

    async def function(run: Recorder) -> None:
        await run(Ledger).numbers(values)
        values.append(3)

    assert written(record(function)[0])["calls"][0]["arguments"] == {"values": [1, 2]}


@pytest.mark.parametrize(
    "write",
    [
        lambda run: run(Ledger).add(1, "x", 2, 3, flag=True),
        lambda run: run(Ledger).add(1),
        lambda run: run(Ledger).typed(
            ORDER, Size(1, Decimal("2.50")), (Colour.RED,), b"\xff", copies=2, colour=Colour.BLUE
        ),
        lambda run: run(Ledger).typed(
            raw=b"", colours=[], size=Size(1, Decimal(1)), order=ORDER.model_copy()
        ),
        lambda run: run(Ledger).loose({"a": [1, 2.5, None, True, "x"], "b": {}}),
        lambda run: run(Ledger).loose("2026-01-02T03:04:05Z"),
        lambda run: run(EmailService).purge(datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_what_the_worker_reads_is_what_was_written(write: Record) -> None:
    (call,) = record(write)

    read = read_envelope(call.target, call.envelope().decode())

    assert read == call
    assert [type(value) for value in read.steps[0].arguments.values()] == [
        type(value) for value in call.steps[0].arguments.values()
    ]


@pytest.mark.parametrize("fold", [0, 1])
def test_a_moment_survives_the_hour_a_clock_is_set_back(fold: int) -> None:
    """There it equals none of another zone (PEP 495), such as the one JSON knows: an offset."""
    moment = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)

    calls = record(
        lambda run: [run(EmailService).purge(moment), run(Ledger).ship(Parcel(sentAt=moment))]
    )

    assert calls[0].steps[0].arguments["before"].timestamp() == moment.timestamp()
    assert calls[1].steps[0].arguments["parcel"].sent_at.timestamp() == moment.timestamp()


@pytest.mark.parametrize(
    ("write", "words"),
    [
        # Providers
        (lambda run: run(Draft).print(), "Draft is not deferrable: list it in its module"),
        (lambda run: run("EmailService"), "takes a class"),
        (lambda run: run.EmailServize, "did you mean 'EmailService'"),
        (lambda run: run["nothing"], "nothing deferrable is called 'nothing'"),
        # Methods
        (lambda run: run(EmailService).too(ADA), "no method 'too'; did you mean 'to'?"),
        (lambda run: run(EmailService)._connect(), "EmailService._connect is private"),
        (lambda run: run(EmailService).__init__(), "EmailService.__init__ is private"),
        (lambda run: run(EmailService)._place, "EmailService._place is private"),
        (lambda run: run(EmailService).__dict__, "private"),
        (lambda run: run(EmailService).default, "EmailService.default is a property"),
        (lambda run: run(EmailService).make(), "is a classmethod"),
        (lambda run: run(EmailService).valid(ADA), "is a staticmethod"),
        (lambda run: run(EmailService).server, "no method 'server'"),
        (lambda run: run(EmailService).to.template("x"), "call it, EmailService.to(...)"),
        # Arguments
        (lambda run: run(EmailService).to(), "missing a required argument: 'address'"),
        (lambda run: run(EmailService).to(ADA, 1), "too many positional arguments"),
        (lambda run: run(EmailService).to(adress=ADA), "'adress'|'address'"),
        (lambda run: run(EmailService).to(7), "EmailService.to.*argument 'address'.*string"),
        (lambda run: run(EmailService).to("\ud800"), "argument 'address'"),
        (lambda run: run(Ledger).add("1"), "argument 'number'.*integer"),
        (lambda run: run(Ledger).add(*[True]), "argument 'number'.*integer"),
        (lambda run: run(Ledger).numbers((1, 2)), "argument 'values'.*list"),
        (lambda run: run(Ledger).numbers([1, "2"]), "argument 'values.1'.*integer"),
        (lambda run: run(Ledger).numbers([], float("nan")), "argument 'ratio'.*JSON: float nan"),
        (lambda run: run(Ledger).loose(datetime.now(UTC)), "argument 'value'.*JSON: datetime"),
        (lambda run: run(Ledger).loose({1: 2}), "argument 'value'.*JSON: dict"),
        (lambda run: run(Ledger).loose({"a": {1, 2}}), "argument 'value'.*JSON: dict"),
        (lambda run: run(Ledger).loose(Thing()), "argument 'value'.*JSON: Thing"),
        (lambda run: run(Ledger).loose(lambda: None), "argument 'value'.*JSON: function"),
        (lambda run: run(Ledger).login("secret"), "argument 'password'"),
        (
            lambda run: run(Ledger).typed(
                RushOrder(**ORDER.model_dump(), courier="Bo"), Size(1, Decimal(1)), [], b""
            ),
            "argument 'order'.*JSON: RushOrder",
        ),
        (lambda run: run(Ledger).untyped(1), "annotate its parameter 'value'"),
        (lambda run: run(Ledger).callback(Thing()), "its parameter 'function' can't be"),
        # Chains
        (lambda run: run(EmailService).to(ADA).maybe().print(), "may return several things"),
        (lambda run: run(EmailService).ledger().add(1), "returns Ledger, a class not marked"),
        (lambda run: run(EmailService).purge(datetime.now(UTC)).more(), "it returns None"),
        (lambda run: run(EmailService).to(ADA).print().upper(), "returns str, a class not marked"),
        (lambda run: run(Ledger).untyped, "nothing was recorded|begun, but no method"),
        (id, "nothing was recorded"),
        (lambda run: run(EmailService), "begun, but no method"),
        (lambda run: run(Ledger).add(1).real, "returns int"),
        # Results that are not known yet
        (lambda run: run(Ledger).add(run(Ledger).add(1)), "result of another recorded call"),
        (lambda run: run(Ledger).loose({"a": [run(Ledger).add(1)]}), "result of another"),
        (lambda run: f"{run(Ledger).add(1)}", "is not known yet"),
        (lambda run: run(Ledger).add(1) + 1, "is not known yet"),
        (lambda run: bool(run(Ledger).add(1)), "is not known yet"),
        (lambda run: list(run(Ledger).loose(1)), "is not known yet"),
        (lambda run: run(Ledger).loose(1)["a"], "is not known yet"),
        (lambda run: run(Ledger)(), "is not known yet"),
        (lambda run: setattr(run(Ledger), "rows", []), "can't be set"),
    ],
)
def test_a_mistake_is_refused_where_it_is_written(
    write: Callable[[Any], object], words: str
) -> None:
    with pytest.raises(InvalidCallError, match=words):
        record(write)


def test_a_secret_is_not_sent_masked() -> None:
    """Nor in clear: who needs it in the worker looks it up there."""
    with pytest.raises(InvalidCallError, match="'password' does not survive"):
        record(lambda run: run(Ledger).login(SecretStr("hunter2")))


def test_a_chain_is_not_continued_twice() -> None:
    def function(run: Recorder) -> None:
        draft = run(EmailService).to(ADA)
        draft.template("one")
        draft.template("two")

    with pytest.raises(InvalidCallError, match="a call follows the result of"):
        record(function)


def test_nothing_is_recorded_afterwards() -> None:
    kept: list[Recorder] = []

    drafts: list[Draft] = []

    async def function(run: Recorder) -> None:
        kept.append(run)
        drafts.append(run(EmailService).to(ADA))

    record(function)

    with pytest.raises(InvalidCallError, match="the recording is over"):
        kept[0](Ledger)
    with pytest.raises(InvalidCallError, match="the recording is over"):
        drafts[0].print()


def test_chains_are_bounded() -> None:
    def function(run: Recorder) -> None:
        draft = run(EmailService).to(ADA)
        for _ in range(32):
            draft = draft.template("x")

    with pytest.raises(InvalidCallError, match="1 to 32 calls"):
        record(function)


def test_names_are_unique_and_look_like_classes() -> None:
    with pytest.raises(ConfigurationError, match="two deferrables are called 'Ledger'"):
        Catalog([Deferrable(Ledger), Deferrable(EmailService, name="Ledger")])
    with pytest.raises(ConfigurationError, match="unlike '__import__'"):
        Catalog([Deferrable(Ledger, name="__import__")])


def test_defaults_come_from_class_then_last_method() -> None:
    mail = CATALOG.by_class(EmailService)
    (call,) = record(lambda run: run(EmailService).purge(datetime.now(UTC)))

    options = mail.options(call.steps[-1].method)

    assert (options.queue, options.attempts) == ("mail", 2)
    assert options.timeout is not None
    assert options.timeout.total_seconds() == 7
    assert mail.queues() == {"mail"}


def test_marking_a_class_does_not_mark_what_inherits_from_it() -> None:
    @deferrable(queue="slow")
    class Base:
        async def work(self) -> None: ...

    class Child(Base):
        pass

    assert Deferrable(Base).queues() == {"slow"}
    assert Deferrable(Child).queues() == {"default"}
