"""Score a worker's hours: the best whole hours, the regret of other hours in dollars, and the reason in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.economy.effort import with_own
from pipeline.economy.income_effects.consumption import worth
from pipeline.economy.laws.dollars import economy_in
from pipeline.economy.tax import FloatArray, marginal_rate, tax
from pipeline.economy.utility import CONTINUUM, MAX_HOURS, Economy, effective_share, effort_cost, income
from signatures.texts.numbers import money
from signatures.types import TaxSchedule


@dataclass(frozen=True, eq=False)
class Work:
    """A worker before its choice: `wage` in dollars an hour, the schedule, and the rebate from others' taxes.

    `economy`: a name in `ECONOMIES`. `dollars_of`: the year of all dollar amounts; None: no single one. `taxpayers`
    share the revenue, so that 1/N of the worker's own tax comes back to it. `taste`: its own factor on the cost of
    effort; `elasticity`: that of its hours, None for the usual one; `participation_cost`: what it loses by working at
    all; `gamma`: how fast the worth of a dollar falls with consumption. Arrays (101,) are by whole hours a week, in
    dollars a year.
    """

    wage: float
    schedule: TaxSchedule
    rebate: float = 0.0
    economy: str = "weekly"
    dollars_of: int | None = None
    taxpayers: float = CONTINUUM
    taste: float = 1.0
    elasticity: float | None = None
    participation_cost: float = 0.0
    gamma: float = 0.0

    @classmethod
    def of(cls, truth: Mapping[str, Any]) -> Work:
        """From the plain data in an example."""
        schedule = TaxSchedule(thresholds=tuple(truth["thresholds"]), rates=tuple(truth["rates"]))
        # examples of older versions were labelled for a continuum of taxpayers
        taxpayers = truth.get("taxpayers", CONTINUUM)
        return cls(
            truth["wage"],
            schedule,
            truth["rebate"],
            truth["economy"],
            truth.get("dollars_of"),
            taxpayers,
            truth.get("taste", 1.0),
            truth.get("elasticity"),
            truth.get("participation_cost", 0.0),
            truth.get("gamma", 0.0),
        )

    def after_tax(self) -> FloatArray:
        """Income minus net tax: the tax without the worker's own share of the rebate."""
        earned = income(self.wage, np.arange(MAX_HOURS + 1))
        return np.asarray(earned - effective_share(self.taxpayers) * tax(self.schedule, earned))

    def effort(self) -> FloatArray:
        """The utility cost of the hours, and of working at all."""
        own = {"elasticity": None if self.elasticity is None else [self.elasticity]}
        hours = np.arange(MAX_HOURS + 1)
        return effort_cost(with_own(self._economy, own), hours) * self.taste + np.where(
            hours > 0, self.participation_cost, 0.0
        )

    @property
    def _economy(self) -> Economy:
        return economy_in(self.economy, self.dollars_of, self.gamma)

    def surplus(self) -> FloatArray:
        """Utility less that of no work: without income effects, utility without the rebate from others' taxes."""
        if self.gamma:
            return np.asarray(self.utility() - self.utility()[0])
        return np.asarray(self.after_tax() - self.effort())

    def utility(self) -> FloatArray:
        """Utility, rebate included."""
        return np.asarray(worth(self._economy, self.after_tax() + self.rebate) - self.effort())


def best_hours(work: Work) -> int:
    """The whole hours a week with the highest utility; the fewest in case of a tie.

    >>> best_hours(Work(20.0, TaxSchedule(thresholds=(0,), rates=(0,))))
    42
    """
    return int(np.argmax(work.surplus()))


@dataclass(frozen=True)
class LaborScore:
    """The regret of `hours` against the `best` whole hours, in dollars a year; `str` gives it in words.

    `regret`: utility lost. `best_surplus`: the highest utility without the rebate from others' taxes; `best_utility`:
    with it. `pay`, `effort`: after-tax pay and utility cost of the hours between the two. `keep`: cents kept of the
    last dollar, or of the next one if more hours are best; `where`: the income range where that holds. `fixed`: whether
    `effort` includes a fixed cost of work.
    """

    hours: int
    best: int
    regret: float
    best_surplus: float
    best_utility: float
    pay: float
    effort: float
    keep: float
    where: str
    fixed: bool = False

    @property
    def score(self) -> float:
        """1 - regret / best_surplus, at least 0: the share of the value of working that the hours realized.

        Utility at the best hours scales with the wage, so scores are comparable over wages; near the top the score
        falls in proportion to the dollars lost. If work has no value, only the best hours score 1.
        """
        if self.best_surplus <= 0:
            return float(self.regret <= 0)
        return max(0.0, 1.0 - self.regret / self.best_surplus)

    @property
    def share(self) -> float:
        """Regret as a share of the best utility, rebate included; nan if that is not positive."""
        return self.regret / self.best_utility if self.best_utility > 0 else float("nan")

    def __str__(self) -> str:
        if self.hours == self.best:
            return f"You worked {self.hours} hours, the best for you under this schedule: {self._kept()}."
        better = (
            f"You worked {self.hours} hours; {self.best} would have left you {money(self.regret)} a year better off"
        )
        between = abs(self.hours - self.best)
        of = "effort and of working at all" if self.fixed else "effort"
        pay, effort = f"{money(self.pay)} a year after tax", f"{money(self.effort)} of {of}"
        if self.hours > self.best:
            return f"{better}, because {self._kept()}: your last {between} hours brought {pay} and cost {effort}."
        return f"{better}: {between} hours more would have brought {pay} and cost {effort}, as {self._kept()}."

    def _kept(self) -> str:
        return f"{self.where}you keep {self.keep:g} cents of a dollar"


def missed(work: Work, hours: int) -> LaborScore:
    """Compare `hours`, from 0 to 100, with the best whole hours for `work`."""
    pay, effort = work.after_tax(), work.effort()
    surplus = work.surplus()
    best = int(np.argmax(surplus))
    rate, where = _bracket(work.schedule, float(income(work.wage, hours)), more=hours < best)
    rate *= effective_share(work.taxpayers)
    return LaborScore(
        hours=hours,
        best=best,
        regret=float(surplus[best] - surplus[hours]),
        best_surplus=float(surplus[best]),
        best_utility=float(work.utility()[best] if work.gamma else surplus[best] + work.rebate),
        pay=float(abs(pay[hours] - pay[best])),
        effort=float(abs(effort[hours] - effort[best])),
        keep=round(100 - rate, 2),
        where=where,
        fixed=bool(work.participation_cost) and 0 in (hours, best),
    )


def _bracket(schedule: TaxSchedule, earned: float, *, more: bool) -> tuple[float, str]:
    """The marginal rate in percent on the last dollar of an income, or on the next if `more`, and where it starts, in
    words."""
    dollar = earned if more else earned - 0.01  # a cent less: an income at an edge counts as the upper bracket's
    rate = float(marginal_rate(schedule, dollar))
    below = [edge for edge in schedule.thresholds if edge <= dollar]
    above = [edge for edge in schedule.thresholds if edge > dollar]
    if len(set(schedule.rates)) == 1:
        return rate, ""
    if len(below) > 1:
        return rate, f"above {money(below[-1])} "
    return rate, f"up to {money(above[0])} " if above else ""
