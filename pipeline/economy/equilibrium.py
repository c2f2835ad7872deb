"""Outcomes of the Stackelberg game: taxes and utilities of a year, best-response equilibria, regret and welfare.

`settle` computes the outcome of given hours, `equilibrium` that of best responses, `regret` what each worker could
have gained, and `welfare_of` the welfare of many schedules. oracle.py searches for the best schedule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.income_effects.shared_rebate import equilibrium_hours
from pipeline.economy.tax import FloatArray, rebate, tax, taxes_under
from pipeline.economy.utility import Economy, best_response, income, respond, utility
from pipeline.economy.welfare import WelfareFunction
from signatures.types import TaxSchedule

CHUNK = 2**17
"""Worker-schedule pairs solved at a time, so that the arrays fit into the processor's cache."""

MANY = 2**12
"""With more workers than this, their best responses are solved in blocks of this many."""

SCHEDULES_AT_ONCE = 16
"""The schedules that are judged together if there are `MANY` workers: they share powers, because they share rates."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """The outcome of one year per worker: arrays (N,), in dollars a year except `labor` in hours a week.

    `posttax` = income - tax + rebate. The rebate is the same for all workers: the mean tax, so that the budget
    balances, plus the `windfall` from outside the economy (negative: paid to the outside), which is 0 without a shock.
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
        """Total taxes, dollars a year."""
        return float(self.tax.sum())


class Regret(NamedTuple):
    """Per worker (N,): the best possible utility and the regret, both in dollars a year, and the best hours a week."""

    best_utility: FloatArray
    regret: FloatArray
    best_labor: FloatArray


def settle(
    economy: Economy, schedule: TaxSchedule, wages: ArrayLike, labor: ArrayLike, *, windfall: float = 0.0
) -> Outcome:
    """The outcome if workers with hourly `wages` (N,) work `labor` (N,) hours a week under `schedule`.

    `windfall`: what each worker gets from outside in addition to the mean tax, dollars a year.

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
    """The outcome if every worker best-responds, in continuous hours.

    The workers with hourly `wages` (N,) share the revenue. This is a Nash equilibrium in dominant strategies: the taxes
    of the others enter a worker's utility as an additive term, so its best hours do not depend on them. With income
    effects they do; see income_effects/shared_rebate.py for which equilibrium it is.
    """
    if economy.gamma:
        w, edges, law = np.asarray(wages, dtype=float), np.array(schedule.thresholds), np.array([schedule.rates])
        hours = equilibrium_hours(economy, edges, law, w, len(w), windfall)[0]
    else:
        hours = best_response(economy, schedule, wages, np.size(wages))
    return settle(economy, schedule, wages, hours, windfall=windfall)


def regret(economy: Economy, schedule: TaxSchedule, wages: ArrayLike, outcome: Outcome) -> Regret:
    """The regret of each worker, 0 or more: best possible utility minus utility, with the others' taxes held fixed.

    Different hours change the worker's own tax, and so the rebate by 1/N of the change.

    >>> from pipeline.economy.tax import US_FED, uniform
    >>> regret(Economy(), US_FED, [20, 20], settle(Economy(), US_FED, [20, 20], [60, 40])).regret.round(2)
    array([14215.43,    27.64])
    >>> regret(Economy(), uniform((0,), 90), [20], settle(Economy(), uniform((0,), 90), [20], [41.99])).regret.round()
    array([0.])
    """
    count = np.size(wages)
    hours = best_response(economy, schedule, wages, count, outcome.rebate - outcome.tax / count)
    earned = income(wages, hours)
    owed = tax(schedule, earned)
    rebate_then = outcome.rebate + (owed - outcome.tax) / count
    possible = utility(economy, earned - owed + rebate_then, hours)
    # two ways to compute the utility of the same hours may differ by rounding
    best = np.maximum(possible, outcome.utility)
    return Regret(best, best - outcome.utility, hours)


def welfare_of(
    economy: Economy,
    thresholds: tuple[float, ...],
    rates: FloatArray,
    wages: FloatArray,
    welfare_function: WelfareFunction,
    taxpayers: float | None = None,
    windfall: float = 0.0,
) -> FloatArray:
    """Welfare (S,) of each of the `rates` (S, B), in percent, if workers with `wages` (N,) best-respond.

    `taxpayers`: the number who share the revenue, N unless the workers are a sample of a larger population. `windfall`:
    dollars a year that each worker gets from outside.
    """
    rows = max(1, CHUNK // len(wages)) if len(wages) <= MANY else SCHEDULES_AT_ONCE
    chunks = (rates[first : first + rows] for first in range(0, len(rates), rows))
    count = taxpayers or len(wages)
    return np.concatenate(
        [_welfare(economy, thresholds, chunk, wages, welfare_function, count, windfall) for chunk in chunks]
    )


def _welfare(
    economy: Economy,
    thresholds: tuple[float, ...],
    rates: FloatArray,
    wages: FloatArray,
    welfare_function: WelfareFunction,
    taxpayers: float,
    windfall: float,
) -> FloatArray:
    """`welfare_of` for one chunk of schedules."""
    if economy.gamma:
        u, earned = utilities_with_income_effects(economy, np.array(thresholds), rates, wages, taxpayers, windfall)
        return np.asarray(welfare_function(u, earned, wages), dtype=float)
    u, taxes, earned = (np.empty((len(rates), len(wages))) for _ in range(3))
    for first in range(0, len(wages), MANY):
        some = slice(first, first + MANY)
        reply = respond(economy.of(some), thresholds, rates, wages[some], taxpayers)
        u[:, some], taxes[:, some], earned[:, some] = reply.surplus, reply.tax, reply.income
    u += taxes.mean(axis=1, keepdims=True)
    u += windfall
    return np.asarray(welfare_function(u, earned, wages), dtype=float)


def utilities_with_income_effects(
    economy: Economy,
    edges: FloatArray,
    rates: FloatArray,
    wages: FloatArray,
    taxpayers: float,
    windfall: float = 0.0,
) -> tuple[FloatArray, FloatArray]:
    """Utility and income, both (S, N), in the equilibrium of each of the `rates` (S, B) on the `edges` (B,)."""
    labor = equilibrium_hours(economy, edges, rates, wages, taxpayers, windfall)
    earned = income(wages, labor)
    taken = taxes_under(edges, rates, earned)
    posttax = earned - taken + (taken.mean(axis=1, keepdims=True) + windfall)
    return utility(economy, posttax, labor), earned
