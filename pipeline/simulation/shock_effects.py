"""What the shocks of a run do to its people and its law, year by year.

Everything here follows from the shocks, the people and the year alone, so that a run can go on from any year.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.economy.population import Population
from pipeline.economy.wages import MIN_WAGE, FloatArray
from pipeline.errors import UsageError
from pipeline.shocks import Shock
from pipeline.simulation.shock_conditions import who
from signatures.types import TaxSchedule


@dataclass(frozen=True, eq=False)
class Exposure:
    """The shocks of a run, in the order in which they take effect, and whom each hits.

    `wage`: (N,) dollars an hour before any of them. `hit`: (N,) for each of `shocks`.
    """

    shocks: tuple[Shock, ...]
    wage: FloatArray
    hit: tuple[NDArray[np.bool_], ...]

    def active(self, year: int) -> tuple[Shock, ...]:
        """Those whose effect on wages or rebate is in force: years with the same ones have the same economy."""
        return tuple(shock for shock in self.shocks if shock.target != "rates" and shock.lasts_in(year))

    def wages(self, year: int) -> FloatArray:
        """Wages in force (N,), dollars an hour. What is taken off a wage leaves `MIN_WAGE`."""
        wage = self.wage
        for shock, hit in zip(self.shocks, self.hit, strict=True):
            if shock.target == "wages" and shock.lasts_in(year):
                (amount,) = shock.amounts
                changed = wage * amount if shock.change == "*" else np.maximum(wage + amount, MIN_WAGE)
                wage = np.where(hit, changed, wage)
        return wage

    def windfall(self, year: int) -> float:
        """What everybody gets from outside on top of the taxes of all, dollars a year; negative: what is taken."""
        return sum((s.amounts[0] for s in self.shocks if s.target == "rebate" and s.lasts_in(year)), start=0.0)

    def changed_law(self, schedule: TaxSchedule, years: Iterable[int]) -> TaxSchedule:
        """A law after the shocks on rates without an end that begin in `years`: it stays until somebody changes it."""
        first = set(years)
        return _after(schedule, (s for s in self.shocks if s.target == "rates" and s.last is None and s.first in first))

    def covered_law(self, schedule: TaxSchedule, year: int) -> TaxSchedule:
        """What is in force of a law in `year`: shocks on rates with an end lie over it as long as they last."""
        return _after(
            schedule,
            (s for s in self.shocks if s.target == "rates" and s.last is not None and s.lasts_in(year)),
        )


def expose(shocks: Sequence[Shock], population: Population) -> Exposure:
    """Whom the shocks hit. UsageError in one line where a condition is none."""
    everybody = np.ones(population.num_agents, dtype=bool)
    hit = []
    for shock in shocks:
        try:
            hit.append(everybody if shock.condition is None else who(shock.condition, population))
        except UsageError as error:
            raise UsageError(f"--shock {shock.text!r}: {error}") from error
    return Exposure(tuple(shocks), population.wage, tuple(hit))


def _after(schedule: TaxSchedule, shocks: Iterable[Shock]) -> TaxSchedule:
    """The law after shocks on rates, one after another; rates stay within 0 to 100 percent."""
    rates = np.array(schedule.rates)
    for shock in shocks:
        rates = np.array(shock.amounts) if shock.change == "=" else np.clip(rates + shock.amounts[0], 0, 100)
    if tuple(rates) == schedule.rates:
        return schedule
    return TaxSchedule(thresholds=schedule.thresholds, rates=tuple(float(rate) for rate in rates))
