"""Apply the shocks of a run to its wages, rebate and tax law, year by year.

The effects depend only on the shocks, the population and the year, so a run can continue from any year.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.economy.population import Population
from pipeline.economy.tax import lowest_rate, within
from pipeline.economy.wages import MIN_WAGE, FloatArray
from pipeline.errors import UsageError
from pipeline.shocks import Shock
from pipeline.simulation.shocks.conditions import agents_matching
from signatures.types import TaxSchedule


@dataclass(frozen=True, eq=False)
class Exposure:
    """The shocks of a run, in the order in which they take effect, and the agents that each hits.

    `wage`: (N,) dollars an hour, before any shock. `hit`: for each of `shocks`, whether it hits each agent (N,).
    `spending`: dollars a year per person that public spending takes in every year.
    """

    shocks: tuple[Shock, ...]
    wage: FloatArray
    hit: tuple[NDArray[np.bool_], ...]
    spending: float = 0.0

    def active(self, year: int) -> tuple[Shock, ...]:
        """The shocks to wages or the rebate in force in `year`: years with the same ones have the same economy."""
        return tuple(shock for shock in self.shocks if shock.target != "rates" and shock.lasts_in(year))

    def wages(self, year: int) -> FloatArray:
        """Wages in force (N,), dollars an hour; a reduction leaves at least `MIN_WAGE`."""
        wage = self.wage
        for shock, hit in zip(self.shocks, self.hit, strict=True):
            if shock.target == "wages" and shock.lasts_in(year):
                (amount,) = shock.amounts
                changed = wage * amount if shock.change == "*" else np.maximum(wage + amount, MIN_WAGE)
                wage = np.where(hit, changed, wage)
        return wage

    def windfall(self, year: int) -> float:
        """The windfall of each agent, dollars a year: what it gets from outside the economy; negative: what it pays.

        Public spending is paid to the outside.
        """
        shocks = (s.amounts[0] for s in self.shocks if s.target == "rebate" and s.lasts_in(year))
        return sum(shocks, start=0.0 - self.spending)

    def changed_law(self, schedule: TaxSchedule, years: Iterable[int]) -> TaxSchedule:
        """A schedule after the permanent shocks to rates that begin in `years`; it holds until the next change."""
        first = set(years)
        return _after(schedule, (s for s in self.shocks if s.target == "rates" and s.last is None and s.first in first))

    def covered_law(self, schedule: TaxSchedule, year: int) -> TaxSchedule:
        """The schedule in force in `year`: `schedule` with the temporary shocks to rates applied."""
        return _after(
            schedule,
            (s for s in self.shocks if s.target == "rates" and s.last is not None and s.lasts_in(year)),
        )


def expose(shocks: Sequence[Shock], population: Population, spending: float = 0.0) -> Exposure:
    """Evaluate whom the shocks hit. UsageError in one line for an invalid condition."""
    everybody = np.ones(population.num_agents, dtype=bool)
    hit = []
    for shock in shocks:
        try:
            hit.append(everybody if shock.condition is None else agents_matching(shock.condition, population))
        except UsageError as error:
            raise UsageError(f"--shock {shock.text!r}: {error}") from error
    return Exposure(tuple(shocks), population.wage, tuple(hit), spending)


def _after(schedule: TaxSchedule, shocks: Iterable[Shock]) -> TaxSchedule:
    """The schedule after shocks to rates, one after another; rates stay within 0 to 100 percent, or -100 to 100
    if one of them is negative."""
    rates = np.array(schedule.rates)
    lowest = lowest_rate(schedule.rates)
    for shock in shocks:
        rates = np.array(shock.amounts) if shock.change == "=" else within(rates, rates + shock.amounts[0], lowest)
    if tuple(rates) == schedule.rates:
        return schedule
    return TaxSchedule(thresholds=schedule.thresholds, rates=tuple(float(rate) for rate in rates))
