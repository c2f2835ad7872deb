"""Tax incidence: who gains and who loses from one tax law relative to another, by wage group.

`incidence` compares two outcomes worker by worker, `incidence_of_law` compares two laws under best responses, and
`brackets` counts the workers in each bracket of a law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.equilibrium import Outcome, equilibrium
from pipeline.economy.policy_support import INDIFFERENT, quantile_groups
from pipeline.economy.tax import FloatArray, bracket_of, people_in_brackets, uniform
from pipeline.economy.utility import MAX_HOURS, Economy, income
from signatures.types import TaxSchedule


@dataclass(frozen=True)
class Gains:
    """The gains of a group of workers.

    `mean_wage`: dollars an hour. `income` (after tax and rebate) and `utility`: mean changes in dollars a year.
    `winners`, `losers`, `unchanged`: numbers of workers whose utility rises, falls, or changes by rounding only.
    """

    workers: int
    mean_wage: float
    income: float
    utility: float
    winners: int
    losers: int
    unchanged: int

    @property
    def share_of_winners(self) -> float:
        """The share of winners in the group, from 0 to 1."""
        return self.winners / self.workers


@dataclass(frozen=True)
class Incidence:
    """Gains of all workers, of thirds and of deciles by wage, lowest first.

    `thirds` and `deciles` are empty if there are fewer workers than groups.
    """

    everybody: Gains
    thirds: tuple[Gains, ...]
    deciles: tuple[Gains, ...]


@dataclass(frozen=True)
class Bracket:
    """A bracket of a law: income above `threshold` dollars a year is taxed at `rate` percent.

    Numbers of workers whose income lies in the bracket: `played`, with the hours they worked; `best`, if every worker
    best-responds. `untaxed`: the number who would earn `threshold` or more without any tax, or at the law's lowest rate
    if it is negative, or, with income effects, at the most hours; if it is 0, no rates from there to 100 bring an
    income into the bracket.
    """

    threshold: float
    rate: float
    played: int
    best: int
    untaxed: int

    @property
    def empty(self) -> bool:
        """Whether no worker is in the bracket, neither as played nor under best responses."""
        return not self.played and not self.best

    @property
    def without_meaning(self) -> bool:
        """Whether the bracket's rate affects no worker, whatever the rates are."""
        return self.empty and not self.untaxed


def incidence(wages: ArrayLike, now: Outcome, reference: Outcome) -> Incidence:
    """The gains of workers with hourly `wages` (N,) in outcome `now` relative to `reference`, both of the same workers.

    >>> from pipeline.economy.equilibrium import settle
    >>> taxed, free = (settle(Economy(), uniform((0,), rate), [10, 30], [40, 40]) for rate in (50, 0))
    >>> gains = incidence([10, 30], taxed, free).everybody
    >>> gains.income, gains.winners, gains.losers
    (0.0, 1, 1)
    """
    w = np.asarray(wages, dtype=float)
    income, utility = _change(now.posttax, reference.posttax), _change(now.utility, reference.utility)
    thirds, deciles = (_by_group(w, income, utility, groups) for groups in (3, 10))
    return Incidence(_gains(w, income, utility), thirds, deciles)


def incidence_of_law(
    economy: Economy, wages: ArrayLike, law: TaxSchedule, reference: TaxSchedule, *, windfall: float = 0.0
) -> Incidence:
    """The gains from `law` relative to the law `reference`, if every worker best-responds to each.

    `wages` (N,): dollars an hour. `windfall`: dollars a year to each worker from outside, under both laws.
    """
    now, then = (equilibrium(economy, one, wages, windfall=windfall) for one in (law, reference))
    return incidence(wages, now, then)


def brackets(
    economy: Economy, law: TaxSchedule, wages: ArrayLike, played: ArrayLike, windfall: float = 0.0
) -> tuple[Bracket, ...]:
    """The brackets of `law` with the number of workers in each; hourly `wages` (N,), incomes as `played` (N,).

    Without income effects no worker earns more with a tax than without one, if no rate is negative, or than at the
    law's lowest rate. A bracket above all these incomes is therefore empty at any rates. With income effects a worker
    may earn up to what the most hours bring. `windfall`: dollars a year to each worker from outside, which matters with
    income effects only.
    """
    best = equilibrium(economy, law, wages, windfall=windfall).income
    if economy.gamma:
        untaxed = income(wages, MAX_HOURS)
    else:
        untaxed = equilibrium(economy, uniform(law.thresholds, min(0.0, *law.rates)), wages).income
    played_in, best_in = (people_in_brackets(law, incomes).tolist() for incomes in (played, best))
    reach = bracket_of(law, untaxed)
    edges = enumerate(zip(law.thresholds, law.rates, strict=True))
    return tuple(Bracket(edge, rate, played_in[j], best_in[j], int((reach >= j).sum())) for j, (edge, rate) in edges)


def _change(now: FloatArray, then: FloatArray) -> FloatArray:
    """`now` minus `then`; exactly 0 where they differ by rounding only."""
    change = now - then
    change[np.abs(change) <= INDIFFERENT * np.maximum(np.abs(now), np.abs(then))] = 0
    return change


def _by_group(w: FloatArray, income: FloatArray, utility: FloatArray, groups: int) -> tuple[Gains, ...]:
    if len(w) < groups:
        return ()
    group = quantile_groups(w, groups)
    return tuple(_gains(w[group == i], income[group == i], utility[group == i]) for i in range(groups))


def _gains(w: FloatArray, income: FloatArray, utility: FloatArray) -> Gains:
    winners, losers = int((utility > 0).sum()), int((utility < 0).sum())
    return Gains(
        workers=len(w),
        mean_wage=float(w.mean()),
        income=float(income.mean()),
        utility=float(utility.mean()),
        winners=winners,
        losers=losers,
        unchanged=len(w) - winners - losers,
    )
