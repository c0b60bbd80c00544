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
TRIES = 300
"""Completions tried before a pair counts as refused by the validators."""


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
        """Add rows until no pair is missing or there are `limit`. The same every time."""
        dice = random.Random(0)  # noqa: S311 - reproducible, not secret
        while (missing := self.missing()) and len(self.rows) < limit:
            pair = min(missing, key=repr)
            found = [self._complete(pair, missing, dice, turn) for turn in range(TRIES)]
            found.sort(key=lambda row, gain=missing: -len(pairs_of(row) & gain))  # type: ignore[misc]
            row = next(filter(self.legal, found), None)
            if row is None:
                self.refused.add(pair)
            else:
                self.rows.append(row)

    def _complete(
        self, pair: Pair, missing: set[Pair], dice: random.Random, turn: int
    ) -> dict[str, Value]:
        """Make a row around a pair that holds many missing pairs; more by chance at each turn."""
        row = dict(pair)
        names = [name for name in self.values if name not in row]
        dice.shuffle(names)
        for name in names:
            values = list(self.values[name])
            dice.shuffle(values)
            if dice.random() * TRIES >= turn:
                values.sort(key=lambda v, n=name: -len(pairs_of({**row, n: v}) & missing))  # type: ignore[misc]
            row[name] = values[0]
        return {name: row[name] for name in self.values}
