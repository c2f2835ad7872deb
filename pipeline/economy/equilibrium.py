"""The Stackelberg game between a planner and workers, solved: what happens, what was best, what it cost.

`settle` books a year as it was worked, `equilibrium` lets everybody work their best hours, `regret` is what a
worker gave up, and `welfare_of` says what many schedules are worth. The best of them is found in oracle.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.tax import FloatArray, rebate, tax
from pipeline.economy.utility import Economy, best_response, income, respond, utility
from pipeline.economy.welfare import WelfareFunction
from signatures.types import TaxSchedule

CHUNK = 2**17
"""Schedules are solved so many worker-schedule pairs at a time: what is in work fits the processor's cache."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """One year, agent by agent: arrays (N,), dollars a year but for `labor`, hours a week.

    `posttax` = income - tax + rebate. The rebate is the same for all: the mean tax, so that the budget balances, and
    the `windfall` from outside (below 0: to outside), which is 0 but for a shock.
    """

    labor: FloatArray
    income: FloatArray
    tax: FloatArray
    rebate: float
    posttax: FloatArray
    utility: FloatArray
    windfall: float = 0.0

    @property
    def revenue(self) -> float:
        """All taxes, dollars a year."""
        return float(self.tax.sum())


class Regret(NamedTuple):
    """Per worker (N,): the utility that was possible and how much of it was missed, dollars a year, and the hours a
    week that it takes."""

    best_utility: FloatArray
    regret: FloatArray
    best_labor: FloatArray


def settle(
    economy: Economy, schedule: TaxSchedule, wages: ArrayLike, labor: ArrayLike, *, windfall: float = 0.0
) -> Outcome:
    """The year in which workers with hourly `wages` (N,) work `labor` (N,) hours a week under `schedule`.

    `windfall`: what each gets from outside beside the taxes of all, dollars a year.

    >>> from pipeline.economy.tax import US_FED
    >>> year = settle(Economy(), US_FED, [10, 50], [40, 40])
    >>> year.rebate, year.revenue
    (10133.25, 20266.5)
    """
    hours = np.asarray(labor, dtype=float)
    earned = income(wages, hours)
    taken = tax(schedule, earned)
    share = rebate(taken) + windfall
    posttax = earned - taken + share
    return Outcome(hours, earned, taken, share, posttax, utility(economy, posttax, hours), windfall)


def equilibrium(economy: Economy, schedule: TaxSchedule, wages: ArrayLike, *, windfall: float = 0.0) -> Outcome:
    """The year in which every worker works the hours that are best for it, in continuous hours.

    The workers with hourly `wages` (N,) are all who share the revenue. A Nash equilibrium: each one's hours are best
    whatever the others work, for others' taxes enter its utility as a sum.
    """
    hours = best_response(economy, schedule, wages, np.size(wages))
    return settle(economy, schedule, wages, hours, windfall=windfall)


def regret(economy: Economy, schedule: TaxSchedule, wages: ArrayLike, outcome: Outcome) -> Regret:
    """What each worker could have had while the others pay the taxes of `outcome`, less what it had: 0 or more.

    Other hours would change the worker's own tax, and with it the rebate by one Nth of that.

    >>> from pipeline.economy.tax import US_FED, uniform
    >>> regret(Economy(), US_FED, [20, 20], settle(Economy(), US_FED, [20, 20], [60, 40])).regret.round(2)
    array([14215.43,    27.64])
    >>> regret(Economy(), uniform((0,), 90), [20], settle(Economy(), uniform((0,), 90), [20], [41.99])).regret.round()
    array([0.])
    """
    count = np.size(wages)
    hours = best_response(economy, schedule, wages, count)
    earned = income(wages, hours)
    owed = tax(schedule, earned)
    rebate_then = outcome.rebate + (owed - outcome.tax) / count
    possible = utility(economy, earned - owed + rebate_then, hours)
    # the two ways to the same hours may differ in the last bit
    best = np.maximum(possible, outcome.utility)
    return Regret(best, best - outcome.utility, hours)


def welfare_of(
    economy: Economy,
    thresholds: tuple[float, ...],
    rates: FloatArray,
    wages: FloatArray,
    welfare_function: WelfareFunction,
    taxpayers: float | None = None,
) -> FloatArray:
    """Welfare (S,) of each of the `rates` (S, B), in percent, when workers with `wages` (N,) best-respond.

    `taxpayers` share the revenue: the N workers, or as many as they are a sample of.
    """
    rows = max(1, CHUNK // len(wages))
    chunks = (rates[first : first + rows] for first in range(0, len(rates), rows))
    count = taxpayers or len(wages)
    return np.concatenate([_welfare(economy, thresholds, chunk, wages, welfare_function, count) for chunk in chunks])


def _welfare(
    economy: Economy,
    thresholds: tuple[float, ...],
    rates: FloatArray,
    wages: FloatArray,
    welfare_function: WelfareFunction,
    taxpayers: float,
) -> FloatArray:
    """`welfare_of` for as many schedules as fit in memory at once."""
    reply = respond(economy, thresholds, rates, wages, taxpayers)
    u = reply.surplus + reply.tax.mean(axis=1, keepdims=True)
    return np.asarray(welfare_function(u, reply.income, wages), dtype=float)
