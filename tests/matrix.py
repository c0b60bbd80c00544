"""Few sets of answers that together hold every pair of choices.

The parameters are the questions with choices in copier.yml; each choice of a multiselect is a
parameter of its own, chosen or not. Which rows are legal is not written here: the template's own
validators are asked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

Value = str | bool
Row = Mapping[str, Value]
"""A value for every parameter. A choice of a multiselect is called `question.choice`."""
Pair = tuple[tuple[str, Value], tuple[str, Value]]

ONCE_EACH = ("license", "preset")
"""Questions whose answer only changes a text, or the defaults of others: each value in some row."""
STEPS = 4000
"""Of the way along which legal rows are found."""
TRIES = 300
"""Of them tried with a pair none of them has, before it counts as refused by the validators."""


def choices(question: Mapping[str, Any]) -> list[str]:
    """Return the values of a question's choices, or nothing for one without choices."""
    found = question.get("choices", [])
    return list(found.values() if isinstance(found, dict) else found)


def parameters(questions: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Value, ...]]:
    """Return the parameters to combine in pairs, with their values."""
    found: dict[str, tuple[Value, ...]] = {}
    for name, question in questions.items():
        if name in ONCE_EACH:
            continue
        if question.get("multiselect"):
            found |= {f"{name}.{choice}": (True, False) for choice in choices(question)}
        elif question.get("type") == "bool":
            found[name] = (True, False)
        elif values := choices(question):
            found[name] = tuple(values)
    return found


def pairs_of(row: Row) -> set[Pair]:
    """Return the pairs a row holds."""
    first_second: Iterable[Pair] = combinations(sorted(row.items()), 2)
    return set(first_second)


def to_answers(row: Row) -> dict[str, object]:
    """Return what a row means as answers for Copier."""
    answers: dict[str, Any] = {}
    for name, value in row.items():
        question, dot, choice = name.partition(".")
        if not dot:
            answers[name] = value
        elif value:
            answers.setdefault(question, []).append(choice)
        else:
            answers.setdefault(question, [])
    return answers


def to_row(answers: Mapping[str, Any], values: Mapping[str, tuple[Value, ...]]) -> dict[str, Value]:
    """Return what answers mean as a row."""
    row: dict[str, Value] = {}
    for name in values:
        question, dot, choice = name.partition(".")
        row[name] = choice in answers[question] if dot else answers[question]
    return row


@dataclass
class Matrix:
    """Rows, and what they cover."""

    values: Mapping[str, tuple[Value, ...]]
    legal: Callable[[Row], bool]
    rows: list[dict[str, Value]] = field(default_factory=list)
    refused: set[Pair] = field(default_factory=set)
    """Pairs no row was found for that the validators accept."""

    def all_pairs(self) -> set[Pair]:
        """Return every pair of two parameters' values."""
        return {
            ((one, a), (other, b))
            for one, other in combinations(sorted(self.values), 2)
            for a in self.values[one]
            for b in self.values[other]
        }

    def missing(self) -> set[Pair]:
        """Return the pairs that are in no row and not refused."""
        return self.all_pairs() - self.refused - set().union(*map(pairs_of, self.rows))

    def fill(self, limit: int) -> None:
        """Add rows until no pair is missing or there are `limit`. The same every time.

        The more choices need each other, the fewer rows made by chance are legal: so the rows to
        choose from are neighbours of known ones, and theirs.
        """
        dice = random.Random(0)  # noqa: S311 - reproducible, not secret
        found = self._wander(dice)
        reached = set().union(*map(pairs_of, found))
        for pair in sorted(self.all_pairs() - reached, key=repr):
            made = ({**row, **dict(pair)} for row in dice.sample(found, min(TRIES, len(found))))
            row = next(filter(self.legal, made), None)
            if row is None:
                self.refused.add(pair)
            else:
                found.append(row)
        held = [(row, pairs_of(row)) for row in found]
        while (missing := self.missing()) and len(self.rows) < limit:
            gains = [(len(pairs & missing), index) for index, (_, pairs) in enumerate(held)]
            best = held[max(gains)[1]][0]
            self.rows.append(self._improved(best, missing))

    def _wander(self, dice: random.Random) -> list[dict[str, Value]]:
        """Return legal rows, each of which differs from the one before in one or two values."""
        found = [dict(row) for row in self.rows]
        row = found[-1]
        for _ in range(STEPS):
            names = dice.sample(sorted(self.values), dice.choice((1, 2)))
            other = {**row, **{name: dice.choice(self.values[name]) for name in names}}
            if self.legal(other):
                row = other
                found.append(row)
        return found

    def _improved(self, row: dict[str, Value], missing: set[Pair]) -> dict[str, Value]:
        """Change single values of a row for as long as it holds more missing pairs then."""
        while True:
            others = [{**row, name: value} for name in self.values for value in self.values[name]]
            gain = len(pairs_of(row) & missing)
            others = [other for other in others if len(pairs_of(other) & missing) > gain]
            others.sort(key=lambda other: -len(pairs_of(other) & missing))
            better = next(filter(self.legal, others), None)
            if better is None:
                return row
            row = better
