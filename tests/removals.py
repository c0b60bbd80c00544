"""Few sets of modules to delete, so that each goes while each that can stay is still there."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from tests.questionnaire import questions
from tests.rendering import ROOT, service_environment

LAYERS = {"infrastructure": "infrastructure", "background": "infrastructure", "features": "modules"}
"""The questions that choose modules, and the layer their folders are in."""
QUEUE = "src/app/infrastructure/queue"
STORAGE = "src/app/infrastructure/storage"
SHOW_MODULES = """
import json
from app.core.discovery import discover
print(json.dumps({module.name: module.requires for module in discover().modules}))
"""
PARTS_OF = {"queue/rabbitmq": {"event_bus_rabbitmq"}}
"""What is built on an engine of the queue, and not on the queue as such."""
BEGINNINGS = 8
"""Sets begun by chance, of which the best is taken."""
TRIES = 8
"""Of them all, of which the shortest list is taken."""

Names = frozenset[str]


@cache
def optional() -> Mapping[str, str]:
    """Return the folder of each module a question offers, by the module's name."""
    found = {
        name: f"src/app/{layer}/{name}"
        for question, layer in LAYERS.items()
        for name in questions()[question]["choices"].values()
    }
    engines = questions()["queue_engines"]["choices"].values()
    clouds = set(questions()["storage"]["choices"].values()) - {"local"}  # tests keep files there
    return {
        **found,
        "queue": QUEUE,
        **{f"queue/{name}": f"{QUEUE}/{name}" for name in engines},
        "storage": STORAGE,
        **{f"storage/{name}": f"{STORAGE}/{name}" for name in sorted(clouds)},
    }


def folder(name: str) -> str:
    """Return the folder of a module, also of one that comes with others and is in no question."""
    return optional().get(name, f"src/app/infrastructure/{name}")


@cache
def requirements() -> Mapping[str, list[str]]:
    """Return which modules each module of the payload requires."""
    argv = [sys.executable, "-c", SHOW_MODULES]
    found = subprocess.run(
        argv, cwd=ROOT / "template", env=service_environment(), capture_output=True, check=True
    )
    requires: Mapping[str, list[str]] = json.loads(found.stdout.splitlines()[-1])
    return requires


@cache
def gone_with(names: Names) -> Names:
    """Return these modules, every part of them, and every one that requires one of them."""
    gone, before = set(names), set[str]()
    engines = {name for name in optional() if name.startswith("queue/")}
    while gone != before:
        before = set(gone)
        gone |= {name for name in optional() if name.partition("/")[0] in before}
        gone |= {name for name, needed in requirements().items() if before & set(needed)}
        gone |= set().union(*(PARTS_OF.get(name, set()) for name in before))
        if engines <= gone:
            gone.add("queue")
    return frozenset(gone)


@dataclass(frozen=True, slots=True)
class Removal:
    """What is deleted together."""

    chosen: Names

    def __str__(self) -> str:
        """Name what is chosen; what requires it goes without being named."""
        return "+".join(sorted(self.chosen))

    def pairs(self) -> set[tuple[str, str]]:
        """Return each module that goes, with each that stays."""
        gone = gone_with(self.chosen)
        names = optional().keys()
        return {(one, other) for one in names & gone for other in names - gone}

    def toggled(self) -> Iterator[Removal]:
        """Yield the same with one module more or less, for each module."""
        for name in sorted(optional()):
            yield Removal(self.chosen ^ {name})


@cache
def removals() -> tuple[Removal, ...]:
    """Return sets in which each module goes while each other one that can stay is there.

    The same every time. The last one is everything.
    """
    found = min((covering(random.Random(seed)) for seed in range(TRIES)), key=len)  # noqa: S311 - reproducible, not secret
    return (*found, Removal(frozenset(optional())))


def covering(dice: random.Random) -> list[Removal]:
    """Return such sets, the one that adds most first."""
    names = sorted(optional())
    missing = set().union(*(Removal(frozenset({name})).pairs() for name in names))
    found = []
    while missing:
        begun = (
            Removal(frozenset(dice.sample(names, dice.randint(1, len(names) // 2))))
            for _ in range(BEGINNINGS)
        )
        best = max(
            (improved(one, missing) for one in begun), key=lambda o: len(o.pairs() & missing)
        )
        found.append(best)
        missing -= best.pairs()
    return found


def improved(removal: Removal, missing: set[tuple[str, str]]) -> Removal:
    """Add or drop single modules for as long as more of the missing pairs are there then."""
    while True:
        best = max(removal.toggled(), key=lambda other: len(other.pairs() & missing))
        if len(best.pairs() & missing) <= len(removal.pairs() & missing):
            return removal
        removal = best
