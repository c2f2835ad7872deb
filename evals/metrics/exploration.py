"""Score the hours of a worker that was told to explore: by the value of what it learns, not by this year's utility.

The value of information of a trial is the rise in the utility that the worker can be sure of. Before the trial that is
the utility of the best hours in its record under the present schedule, or of not working; afterwards also that of the
hours it tried. This is the fall in simple regret (Bubeck, Munos and Stoltz 2011, Theoretical Computer Science 412,
section 2), computed with the worker's true utility.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from evals.metrics.labor import Work
from signatures.texts.numbers import money
from signatures.texts.worker import WorkerRecord

NOTHING_LEFT = 1.0
"""Dollars a year: with less than this to gain over the best hours known, there is nothing to learn."""


@dataclass(frozen=True)
class Trial:
    """`hours` a week tried by a worker, with the highest utilities, in dollars a year without the rebate from others'
    taxes: `known` before the trial, `learned` after it, and `best` of all whole hours."""

    hours: int
    known: float
    learned: float
    best: float

    @property
    def has_something_to_learn(self) -> bool:
        return self.best - self.known > NOTHING_LEFT

    @property
    def score(self) -> float:
        """The share of the possible rise that the trial brought, from 0 to 1. Only if there is something to learn."""
        return (self.learned - self.known) / (self.best - self.known)

    def __str__(self) -> str:
        gap, rise = self.best - self.known, self.learned - self.known
        if rise <= 0:
            return (
                f"Your trial of {self.hours} hours taught you nothing better than the hours you knew; up to "
                f"{money(gap)} a year more can be found."
            )
        return f"Your trial of {self.hours} hours found {money(rise)} of the {money(gap)} a year that could be found."


def trial(work: Work, tried: Iterable[float], hours: int) -> Trial:
    """The trial of `hours`, 0 to 100 a week, by a worker that has `tried` other hours under the present schedule."""
    surplus = work.surplus()
    known = max(surplus[round(other)] for other in (0, *tried))
    return Trial(hours, float(known), float(max(known, surplus[hours])), float(surplus.max()))


def tried_here(record: str) -> list[float]:
    """The hours a week that a worker's record has under the present schedule. ValueError if it is not a record."""
    found = WorkerRecord.parse(record)
    if found is None:
        raise ValueError(f"record: expected a worker's record as in its prompt, not {record[:80]!r}")
    return [row.hours for row in found.by_hours if row.here is not None]
