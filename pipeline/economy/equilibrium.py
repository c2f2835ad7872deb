"""The Stackelberg game between a planner and workers, solved: what happens, what was best, what it cost.

`settle` books a year as it was worked, `equilibrium` lets everybody work their best hours, `regret` is what a
worker gave up, and `welfare_of` says what many schedules are worth. The best of them is found in oracle.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.tax import FloatArray, rebate, tax
from pipeline.economy.utility import Economy, best_response, income, respond, utility
from signatures.types import TaxSchedule

WelfareFunction = Callable[[FloatArray, FloatArray, FloatArray], Any]
"""f(utility, income, wage) over the last axis, as in `pipeline.economy.welfare.WELFARE`."""

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
    """The year in which every worker works the hours that are best for them, in continuous hours."""
    return settle(economy, schedule, wages, best_response(economy, schedule, wages), windfall=windfall)


def regret(economy: Economy, schedule: TaxSchedule, wages: ArrayLike, outcome: Outcome) -> Regret:
    """What each worker could have had with the rebate of `outcome`, and that less what they had: 0 or more.

    >>> from pipeline.economy.tax import US_FED
    >>> regret(Economy(), US_FED, [20], settle(Economy(), US_FED, [20], [60])).regret.round(2)
    array([16198.57])
    """
    hours = best_response(economy, schedule, wages)
    earned = income(wages, hours)
    possible = utility(economy, earned - tax(schedule, earned) + outcome.rebate, hours)
    # the two ways to the same hours may differ in the last bit
    best = np.maximum(possible, outcome.utility)
    return Regret(best, best - outcome.utility, hours)


LEAST_GAIN = 0.005
"""ORACLE's gain over the start, as a share of it, below which the planner share divides by next to nothing."""


def telling(start: float, best: float) -> bool:
    """Whether there is enough to gain for a share of it to say something."""
    return best - start >= LEAST_GAIN * abs(start)


def planner_share(start: float, achieved: float, best: float) -> float:
    """Share of the possible gain in welfare, from `start` to `best`, that was `achieved`; nan if there is none.

    >>> planner_share(10, 25, 30)
    0.75
    """
    return (achieved - start) / (best - start) if best != start else float("nan")


def welfare_of(
    economy: Economy,
    thresholds: tuple[float, ...],
    rates: FloatArray,
    wages: FloatArray,
    welfare_function: WelfareFunction,
) -> FloatArray:
    """Welfare (S,) of each of the `rates` (S, B), in percent, when workers with `wages` (N,) best-respond."""
    rows = max(1, CHUNK // len(wages))
    chunks = (rates[first : first + rows] for first in range(0, len(rates), rows))
    return np.concatenate([_welfare(economy, thresholds, chunk, wages, welfare_function) for chunk in chunks])


def _welfare(
    economy: Economy,
    thresholds: tuple[float, ...],
    rates: FloatArray,
    wages: FloatArray,
    welfare_function: WelfareFunction,
) -> FloatArray:
    """`welfare_of` for as many schedules as fit in memory at once."""
    reply = respond(economy, thresholds, rates, wages)
    u = reply.surplus + reply.tax.mean(axis=1, keepdims=True)
    return np.asarray(welfare_function(u, reply.income, wages), dtype=float)
