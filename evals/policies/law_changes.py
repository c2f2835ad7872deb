"""Every change of the law in a stored run: by a government, a shock, or a fork.

A year can hold several changes, one after another. While a shock overrides the law, a government changes the underlying
law, and that is its change here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.simulation.restore import on_brackets
from pipeline.simulation.shocks.effects import Exposure
from pipeline.store.columns import Row
from pipeline.store.run_lookup import schedule_of
from signatures.types import TaxSchedule

Cause = Literal["government", "shock", "fork"]
"""`government`: its turn, whether or not it changed the law. `fork`: the law was rewritten on other brackets."""


@dataclass(frozen=True)
class Change:
    """One step of the law, from `before` to `after`, in `year`."""

    year: int
    cause: Cause
    before: TaxSchedule
    after: TaxSchedule


def law_beneath(row: Row) -> TaxSchedule:
    """The law of a stored year without temporary shocks: the law that governments change."""
    rates = row.get("rates_beneath")
    return schedule_of(row) if rates is None else schedule_of({**row, "rates": rates})


def changes_of_law(
    years: Mapping[int, Row], first: int, start: TaxSchedule, exposure: Exposure, lowest_rate: float = 0.0
) -> Iterator[Change]:
    """The changes from year `first` on, in order. `years`: rows of the table by year; `start`: the law before the
    first year, on the run's brackets; `lowest_rate`: in percent, that a government may set.

    If a change's `after` differs from the next one's
    `before`, a shock overrides the law in between.
    """
    for year in sorted(year for year in years if year >= first):
        row, last = years[year], years.get(year - 1)
        law = law_beneath(last) if last is not None else start
        if law.thresholds != start.thresholds:
            rewritten = on_brackets(law, start.thresholds)
            yield Change(year, "fork", law, rewritten)
            law = rewritten
        if row["rate_changes"] is not None:
            decided = law.changed(tuple(row["rate_changes"]), lowest_rate)
            yield Change(year, "government", law, decided)
            law = decided
        stays = law_beneath(row)
        if stays != law:
            yield Change(year, "shock", law, stays)
        covered, now = exposure.covered_law(stays, year - 1), schedule_of(row)
        if covered != now:
            yield Change(year, "shock", covered, now)
