"""Say what is being done and how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

COLOURS = {"green": "32", "red": "31", "blue": "34", "dim": "2"}


class CommandError(Exception):
    """The command can't go on. The message says what to do."""


def say(text: str = "", *, colour: str | None = None) -> None:
    """Print a line at once, in colour on a terminal."""
    if colour and sys.stdout.isatty():
        text = f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@dataclass
class Outcome:
    """What became of a step."""

    title: str
    seconds: float = 0.0
    failure: str | None = None
    """Why it failed, or None."""
    note: str = ""
    """One line for the closing table, such as pytest's summary."""


@dataclass
class Steps:
    """The steps of one command, timed."""

    outcomes: list[Outcome] = field(default_factory=list)

    @contextmanager
    def step(self, title: str) -> Iterator[Outcome]:
        """Announce a step, time it, and report how it ended.

        A `CommandError` is recorded and goes on to the caller.
        """
        outcome = Outcome(title)
        self.outcomes.append(outcome)
        say(f"▸ {title}", colour="blue")
        begun = time.monotonic()
        try:
            yield outcome
        except BaseException as error:
            outcome.failure = str(error) or type(error).__name__
            raise
        finally:
            outcome.seconds = time.monotonic() - begun
            if outcome.failure is None:
                say(f"  done in {outcome.seconds:.1f} s", colour="green")
            else:
                say(f"  failed after {outcome.seconds:.1f} s: {outcome.failure}", colour="red")

    @property
    def failed(self) -> list[Outcome]:
        """The steps that failed."""
        return [outcome for outcome in self.outcomes if outcome.failure is not None]

    def report(self) -> None:
        """Print every step with its time, and what it noted."""
        say()
        for outcome in self.outcomes:
            mark, colour = ("✗", "red") if outcome.failure is not None else ("✓", "green")
            note = outcome.failure or outcome.note
            say(f"{mark} {outcome.seconds:7.1f} s  {outcome.title:<42} {note}", colour=colour)
        total = sum(outcome.seconds for outcome in self.outcomes)
        say(f"  {total:7.1f} s  in all")
