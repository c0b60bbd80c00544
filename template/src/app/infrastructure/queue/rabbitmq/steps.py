"""What a consumer asks Redis in one round trip: to settle these jobs, and to claim those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.infrastructure.queue.engine import Completed, Dead, Retry, Verdict
from app.infrastructure.queue.rabbitmq.wire import milliseconds, pairs, twos, write_failure
from app.infrastructure.queue.redis_scripts import Word


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is to become of a job that ran."""

    id: str
    verdict: Verdict
    out: bool
    """Whether a message about it may come that this worker does not hold."""
    reply: str = ""
    """Channel of a process that waits for its end."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What Redis says to a message. `code` is one of those at the script."""

    code: str
    number: int = 0
    """How often it was started, or ms for which another worker holds it."""
    history: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether the queue lets more jobs start."""

    paused: bool
    wait: float
    """Seconds until it may be asked again; 0: nothing holds it up."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The answer to a settlement."""

    ours: bool
    """False: the job is another worker's by now, or nothing is known of it."""
    turn: int


@dataclass(frozen=True, slots=True)
class Step:
    """The answers to what a consumer asks in one round trip."""

    gate: Gate
    claims: Sequence[Claim]
    settled: Sequence[Settled]
    woken: Sequence[tuple[str, str]]
    """Queue and id of jobs that waited for those which have ended."""


def write_settlement(settlement: Settlement, now: int) -> tuple[Word, ...]:
    """Return a settlement as the script takes it."""
    verdict, reply = settlement.verdict, settlement.reply
    out = 1 if settlement.out else 0
    match verdict:
        case Completed():
            return "completed", settlement.id, verdict.result, "", 0, out, reply
        case Dead():
            text = write_failure(verdict.failure)
            return "dead", settlement.id, text, verdict.reason.value, 0, out, reply
        case Retry():
            pause = milliseconds(verdict.after)
            text = write_failure(verdict.failure)
            return "retry", settlement.id, text, "", now + pause if pause > 0 else 0, out, reply
    return "back", settlement.id, "", "", 0, out, reply


def read_step(claimed: Sequence[Any], settled: Sequence[Any] | None) -> Step:
    """Return the answers of the scripts; `settled` is None where nothing was to be settled."""
    claims = []
    for code, *rest in claimed[2:]:
        number = int(rest[0]) if rest else 0
        history = pairs(rest[1]) if len(rest) > 1 and rest[1] else None
        claims.append(Claim(str(code), number, history))
    return Step(
        gate=Gate(bool(claimed[0]), int(claimed[1]) / 1000),
        claims=claims,
        settled=[Settled(bool(ours), int(turn)) for ours, turn in settled[1:]] if settled else (),
        woken=twos(settled[0]) if settled else (),
    )
