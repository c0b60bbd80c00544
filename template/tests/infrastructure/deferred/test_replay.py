"""Calls recorded here and made in a worker, on each engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from dishka import AsyncContainer

from app.core.deferring import CallableLater
from app.core.errors import ConfigurationError, ForbiddenError
from app.infrastructure.deferred import Call, Deferrable, InvalidCallError, OnBehalfOf, Recorder
from app.infrastructure.deferred.signing import COVERED, SIGNATURE, Signer
from app.infrastructure.logger import LogContext, bind_context
from app.infrastructure.queue import (
    DeadReason,
    InvalidJobError,
    Job,
    JobFailedError,
    JobOptions,
    JobState,
)
from app.infrastructure.queue.events import JobStarted
from tests.infrastructure.deferred.conftest import PATIENCE, Start
from tests.infrastructure.deferred.services import (
    Colour,
    Draft,
    EmailService,
    Ledger,
    Order,
    Parcel,
    Size,
    Speaker,
    Visits,
)

ADA = "ada@example.com"
ORDER = Order(id=UUID(int=7), placed=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC))
KEY, OTHER_KEY = "k" * 32, "o" * 32


async def test_a_service_is_called_whose_module_does_not_require_it(start: Start) -> None:
    """It is listed, and what it returns is marked, in the words of core; it learns the job's id."""
    listed = (CallableLater(Speaker, aliases=("Voice",)),)
    async with start(listed=listed) as service:
        (job,) = await service.tasks.run_later(
            lambda run: run(Speaker).say("good").and_then("morning").spoken(), attempts=1
        )
        assert await job.result(timeout=PATIENCE) == ["good", "morning", job.id]
        (named,) = await service.tasks.run_later(lambda run: run["Voice"].say("hi").spoken())
        assert await named.result(timeout=PATIENCE) == ["hi", named.id]


async def test_chains_are_made_in_a_worker(start: Start, outbox: list[dict[str, Any]]) -> None:
    """Sync and async steps, in order, on one object; results come in the order of the chains."""
    async with start() as service:
        jobs = await service.tasks.run_later(
            lambda run: [
                run(EmailService).to(ADA).template("welcome", locale="de").print(),
                run(Ledger).add(1, "x", 2, 3, flag=True),
                run(Visits).visit().visit().count(),
            ]
        )
        assert await jobs.results(timeout=PATIENCE) == [f"Dear {ADA}", 1, 2]
        assert len(jobs) == 3
        assert await jobs[1].state() is JobState.COMPLETED

        async def write(run: Recorder) -> None:
            draft = await run(EmailService).to(ADA).attach(b"\x00\xff")
            await draft.template("welcome").send({"name": "Ada"})

        (job,) = await service.tasks.run_later(write)
        assert await job.result(timeout=PATIENCE) == 1

    assert service.ledger.rows == [(1, "x", (2, 3), True)]
    assert outbox == [
        {
            "to": ADA,
            "pages": (b"\x00\xff",),
            "template": "welcome",
            "locale": "en",
            "values": {"name": "Ada"},
        }
    ]


async def test_arguments_and_results_have_their_types(start: Start) -> None:
    size = Size(1, Decimal("2.50"))
    async with start() as service:
        (job,) = await service.tasks.run_later(
            lambda run: run(Ledger).typed(
                ORDER, size, [Colour.RED], b"\xff", copies=2, colour=Colour.BLUE
            )
        )
        returned = await job.result(timeout=PATIENCE)

    assert returned == ORDER
    assert service.ledger.rows == [
        (ORDER, size, [Colour.RED], b"\xff", {"copies": 2, "colour": Colour.BLUE})
    ]
    assert "note" not in service.ledger.rows[0][0].model_fields_set


async def test_a_model_with_aliases_and_bytes_come_back(start: Start) -> None:
    parcel = Parcel(sentAt=ORDER.placed)
    async with start() as service:
        jobs = await service.tasks.run_later(
            lambda run: [run(Ledger).ship(parcel), run(Ledger).label(b"%PDF\xff")]
        )
        assert await jobs.results(timeout=PATIENCE) == [parcel, b"%PDF\xff"]
    assert service.ledger.rows == [(parcel,)]


async def test_what_json_can_not_hold_is_not_kept_as_a_result(start: Start) -> None:
    """The call is made nevertheless; a chain may end anywhere."""
    async with start() as service:
        (job,) = await service.tasks.run_later(lambda run: run(EmailService).to(ADA))
        assert await job.result(timeout=PATIENCE) is None


async def test_the_last_call_runs_in_a_thread_unless_it_is_async(start: Start) -> None:
    """A worker goes on while it blocks."""
    async with start() as service:
        jobs = await service.tasks.run_later(lambda run: [run(Ledger).slow(0.0)])
        assert await jobs.results(timeout=PATIENCE) != ["MainThread"]


async def test_every_job_has_an_object_of_its_own(start: Start) -> None:
    async with start() as service:
        jobs = await service.tasks.run_later(
            lambda run: [run(Visits).visit().count() for _ in range(3)]
        )
        assert await jobs.results(timeout=PATIENCE) == [1, 1, 1]


async def test_a_failure_says_what_happened_in_the_worker(start: Start) -> None:
    async with start() as service:
        (job,) = await service.tasks.run_later(
            lambda run: run(Ledger, attempts=1).fail("no ink left")
        )
        with pytest.raises(JobFailedError, match="ValueError: no ink left") as caught:
            await job.result(timeout=PATIENCE)

    failure = caught.value.failure
    assert failure is not None
    assert (failure.type, failure.message) == ("ValueError", "no ink left")
    assert "raise ValueError(words)" in caught.value.__notes__[0]


async def test_a_result_of_another_type_is_said_and_not_repeated(start: Start) -> None:
    async with start() as service:
        (job,) = await service.tasks.run_later(lambda run: run(Ledger).lies())
        with pytest.raises(JobFailedError, match="Expected `int`") as caught:
            await job.result(timeout=PATIENCE)

    assert caught.value.reason is DeadReason.REJECTED
    assert len(service.jobs.told(JobStarted)) == 1


async def test_options_are_those_of_class_method_call_and_chain(start: Start) -> None:
    async with start(work=False) as service:
        when = datetime.now(UTC) + timedelta(minutes=5)
        jobs = await service.tasks.run_later(
            lambda run: [
                run(EmailService).to(ADA).print(),
                run(EmailService, attempts=9, queue="other").to(ADA).print(),
                run(EmailService).purge(datetime.now(UTC)),
            ],
            priority=2,
            attempts=7,
            eta=when,
        )
        records = [await job.record() for job in jobs]

    assert [record.queue for record in records] == ["mail", "other", "mail"]
    assert [record.attempts for record in records] == [7, 9, 7]
    assert {record.state for record in records} == {JobState.DELAYED}


async def test_a_key_keeps_equal_calls_out(start: Start) -> None:
    """Each chain of one `run_later` has a key of its own."""

    def twice(run: Recorder) -> object:
        return [run(Ledger).add(1), run(Ledger).add(2)]

    async with start(work=False) as service:
        first = await service.tasks.run_later(twice, dedupe="count:1")
        again = await service.tasks.run_later(twice, dedupe="count:1")

    assert first[0].id != first[1].id
    assert [job.id for job in again] == [job.id for job in first]


async def test_a_chain_s_own_key_is_that_key_wherever_it_stands(start: Start) -> None:
    async with start(work=False) as service:
        (first,) = await service.tasks.run_later(lambda run: run(Ledger, dedupe="k").add(1))
        others = await service.tasks.run_later(
            lambda run: [run(Ledger).add(2), run(Ledger, dedupe="k").add(1)]
        )

    assert others[1].id == first.id


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"eta": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001 - the mistake
        ({"eta": datetime.now(UTC), "delay": timedelta(1)}, "either"),
        ({"priority": 9}, "priority"),
        ({"retries": 9}, "no job option retries"),
    ],
)
async def test_options_nobody_can_have_are_refused(start: Start, options: Any, words: str) -> None:
    async with start(work=False) as service:
        with pytest.raises((InvalidCallError, InvalidJobError), match=words):
            await service.tasks.run_later(lambda run: run(Ledger).add(1), **options)


async def test_a_call_larger_than_a_job_is_refused(start: Start) -> None:
    async with start(work=False) as service:
        with pytest.raises(InvalidJobError, match="262144 are possible"):
            await service.tasks.run_later(lambda run: run(Ledger).loose("x" * 300_000))


async def test_one_bad_chain_keeps_all_from_leaving(start: Start) -> None:
    async with start(work=False) as service:
        with pytest.raises(InvalidCallError):
            await service.tasks.run_later(
                lambda run: [run(Ledger).add(1), run(Ledger).add("2")]  # type: ignore[arg-type]  # the mistake
            )
        counts = await service.jobs.engine.counts("default")
    assert sum(counts.values()) == 0


async def test_the_caller_s_context_travels(start: Start) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    context = {"user_id": "7", "role": "admin", "tenant": "acme", "locale": "de-AT"}
    async with start() as service:
        with bind_context(trace_id=trace, span_id="00f067aa0ba902b7", **context):
            (job,) = await service.tasks.run_later(lambda run: run(Visits).who())
        found = await job.result(timeout=PATIENCE)

    assert found == {
        "trace": trace,
        "user": "7",
        "role": "admin",
        "tenant": "acme",
        "locale": "de-AT",
    }


async def test_a_check_may_refuse_what_the_caller_may_no_longer_do(start: Start) -> None:
    asked: list[tuple[str | None, str]] = []

    async def check(caller: LogContext, call: Call, scope: AsyncContainer) -> None:
        assert isinstance(await scope.get(Ledger), Ledger)
        asked.append((caller.user_id, call.path))
        if caller.user_id == "8":
            raise ForbiddenError

    async with start(OnBehalfOf(check)) as service:
        with bind_context(user_id="7"):
            (job,) = await service.tasks.run_later(lambda run: run(Ledger).add(1))
        assert await job.result(timeout=PATIENCE) == 1
        with bind_context(user_id="8"):
            (job,) = await service.tasks.run_later(lambda run: run(Ledger).add(1))
        with pytest.raises(JobFailedError, match="the caller may not, any more") as caught:
            await job.result(timeout=PATIENCE)

    assert caught.value.reason is DeadReason.REJECTED
    assert asked == [("7", "Book.add"), ("8", "Book.add")]
    assert len(service.ledger.rows) == 1


async def test_former_names_still_work(start: Start, outbox: list[dict[str, Any]]) -> None:
    """Of a class and of a method: jobs published before the rename are done after it."""
    calls = [
        ("deferred.OldBook", "add", {"number": 5}),
        ("deferred.EmailService", "forget", {"before": "2026-01-01T00:00:00Z"}),
    ]
    async with start() as service:
        for name, method, arguments in calls:
            body = {"version": 1, "calls": [{"method": method, "arguments": arguments}]}
            await (await service.jobs.jobs.publish(name, body)).result(timeout=PATIENCE)

    assert service.ledger.rows == [(5, "none", (), False)]
    assert outbox == [{"purged": datetime(2026, 1, 1, tzinfo=UTC)}]


async def test_what_an_envelope_says_beside_is_ignored(start: Start) -> None:
    """An older worker understands what a newer one added."""
    call = {"method": "add", "arguments": {"number": 6}, "since": "tomorrow"}
    async with start() as service:
        job = await service.jobs.jobs.publish(
            "deferred.Book", {"version": 1, "calls": [call], "more": [1]}
        )
        assert await job.result(timeout=PATIENCE) == 6


async def test_a_listed_class_must_be_provided(start: Start) -> None:
    with pytest.raises(ConfigurationError, match="Draft is listed as deferrable, but no module"):
        async with start(Deferrable(Draft)):
            pass


async def test_only_signed_calls_are_made_once_there_is_a_key(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new key comes first in the list; calls signed with the old one are still accepted."""
    async with start() as unsigned:
        monkeypatch.setenv("DEFERRED_SIGNING_KEYS", OTHER_KEY)
        async with start(work=False) as stranger:
            monkeypatch.setenv("DEFERRED_SIGNING_KEYS", KEY)
            async with start(work=False) as old:
                await unsigned.jobs.worker.stop(1.0)
                monkeypatch.setenv("DEFERRED_SIGNING_KEYS", f"{'n' * 32}, {KEY}")
                jobs = [
                    (await service.tasks.run_later(lambda run: run(Ledger).add(1)))[0]
                    for service in (unsigned, stranger, old)
                ]
                async with start() as service:
                    for job in jobs[:2]:
                        with pytest.raises(JobFailedError, match="signature is missing or wrong"):
                            await job.result(timeout=PATIENCE)
                    assert await jobs[2].result(timeout=PATIENCE) == 1
    assert len(service.ledger.rows) == 1


HOSTILE: list[Any] = [
    {"version": 2, "calls": [{"method": "add", "arguments": {"number": 1}}]},
    {"version": 0, "calls": [{"method": "add", "arguments": {"number": 1}}]},
    {"version": "1", "calls": "add"},
    {"version": 1, "calls": []},
    {"version": 1, "calls": [{"method": "visit", "arguments": {}}] * 33},
    {"version": 1, "calls": [{"method": "__init__", "arguments": {}}]},
    {"version": 1, "calls": [{"method": "rows", "arguments": {}}]},
    {"version": 1, "calls": [{"method": "add", "arguments": {"number": "1"}}]},
    {"version": 1, "calls": [{"method": "add", "arguments": {"number": 1, "self": 2}}]},
    {"version": 1, "calls": [{"method": "add", "arguments": {}}]},
    {"version": 1, "calls": [{"method": "add.__globals__", "arguments": {"number": 1}}]},
    {
        "version": 1,
        "calls": [
            {"method": "add", "arguments": {"number": 1}},
            {"method": "bit_length", "arguments": {}},
        ],
    },
    {
        "version": 1,
        "calls": [
            {"method": "visits", "arguments": {}},
            {"method": "visit", "arguments": {}},
        ],
    },
    [],
    None,
    "deferred",
    {"__class__": "os.system"},
]


async def test_hostile_envelopes_are_dead_on_arrival(start: Start) -> None:
    async with start() as service:
        jobs = [await service.jobs.jobs.publish("deferred.Book", body) for body in HOSTILE]
        jobs.append(await service.jobs.jobs.publish("deferred.os", HOSTILE[0]))
        for job in jobs:
            with pytest.raises(JobFailedError):
                await job.result(timeout=PATIENCE)
            record = await job.record()
            assert record.reason in {DeadReason.REJECTED, DeadReason.UNKNOWN}
            assert record.starts <= 1

    assert service.ledger.rows == []


def test_a_signed_call_can_not_be_changed() -> None:
    """Each covered part, each of its bits."""
    signer = Signer([KEY.encode()])
    job = signer.sign(
        Job(
            id="a1",
            name="deferred.Book",
            body='{"version":1}',
            options=JobOptions(queue="mail"),
            headers={"user-id": "7", "tenant": "a"},
        )
    )
    signer.check(job)

    def flipped(text: str) -> list[str]:
        return [
            text[:i] + chr(ord(c) ^ (1 << bit)) + text[i + 1 :]
            for i, c in enumerate(text)
            for bit in range(7)
        ]

    forged = [replace(job, id=text) for text in flipped(job.id)]
    forged += [replace(job, name=text) for text in flipped(job.name)]
    forged += [replace(job, body=text) for text in flipped(job.body)]
    forged += [replace(job, options=JobOptions(queue="mai"))]
    for name in (*COVERED, SIGNATURE):
        value = job.headers.get(name, "")
        texts = [*flipped(value), value + "x"]
        forged += [replace(job, headers={**job.headers, name: text}) for text in texts]
    assert len(forged) > 800
    for item in forged:
        with pytest.raises(InvalidCallError):
            signer.check(item)
