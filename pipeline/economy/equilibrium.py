"""The Stackelberg game between a planner and workers, solved: what happens, what was best, what it cost.

`settle` books a year as it was worked, `equilibrium` lets everybody work their best hours, `regret` is what a
worker gave up, and `oracle` is the schedule that a planner would set who knew it all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.tax import FloatArray, rebate, tax
from pipeline.economy.utility import Economy, best_response, income, respond, utility
from signatures.types import TaxSchedule

WelfareFunction = Callable[[FloatArray, FloatArray, FloatArray], Any]
"""f(utility, income, wage) over the last axis, as in `pipeline.economy.welfare.WELFARE`."""

Welfare = Callable[[FloatArray], FloatArray]
"""Rates (S, B) to the welfare (S,) of each when everybody best-responds."""

CHUNK = 2**17
"""Schedules are solved so many worker-schedule pairs at a time: what is in work fits the processor's cache."""

GRID = range(0, 101, 10)
"""The rates a planner can reach from 50 percent, in percent."""

SCOUTS = {"grid": 20_000, "climb": 500}
"""The most workers that look for where a climb is worth starting; the climb itself counts everybody."""


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
    """Per worker (N,), dollars a year: the utility that was possible, and how much of it was missed."""

    best_utility: FloatArray
    regret: FloatArray


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
    return Regret(best, best - outcome.utility)


def planner_share(start: float, achieved: float, best: float) -> float:
    """Share of the possible gain in welfare, from `start` to `best`, that was `achieved`; nan if there is none.

    >>> planner_share(10, 25, 30)
    0.75
    """
    return (achieved - start) / (best - start) if best != start else float("nan")


def oracle(
    economy: Economy,
    thresholds: tuple[float, ...],
    wages: ArrayLike,
    welfare_function: WelfareFunction,
    candidates: Iterable[TaxSchedule] = (),
) -> TaxSchedule:
    """The Stackelberg optimum: the schedule on `thresholds` with the highest welfare when workers best-respond.

    Up to three brackets: the best of all rates that are multiples of ten. More: coordinate ascent from many
    starts. Both then climb, from the best of the `candidates` on the same thresholds, too, so the result
    is at least as good as each of them, and no change of one rate by ten or twenty points improves it. In a large
    population (`SCOUTS`) a part of the workers decides where the last climb begins. Deterministic.
    `welfare_function` must work along the last axis. `wages` (N,) dollars an hour.

    >>> from pipeline.economy.welfare import utilitarian
    >>> oracle(Economy(), (0, 90_000), [10, 20, 80], utilitarian).rates
    (0.0, 0.0)
    """
    wage = np.asarray(wages, dtype=float)
    scouts = _thinned(wage, SCOUTS["grid" if len(thresholds) <= 3 else "climb"])

    def welfare(rates: FloatArray) -> FloatArray:
        return welfare_of(economy, thresholds, rates, wage, welfare_function)

    def scouted(rates: FloatArray) -> FloatArray:
        return welfare_of(economy, thresholds, rates, scouts, welfare_function)

    starts = _best_of_grid(scouted, thresholds) if len(thresholds) <= 3 else _peaks(scouted, len(thresholds))[:4]
    rivals = np.array([law.rates for law in candidates if law.thresholds == thresholds])
    if len(rivals):
        starts = np.vstack([starts, _highest(welfare, rivals)[0]])
    best = _highest(welfare, np.array([_climb(welfare, start, reach=1) for start in starts]))[0]
    return TaxSchedule(thresholds=thresholds, rates=tuple(round(float(rate), 10) for rate in best))


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


def _thinned(wages: FloatArray, most: int) -> FloatArray:
    """All `wages`, or `most` of them, evenly spaced from the lowest to the highest."""
    return wages if len(wages) <= most else np.quantile(wages, np.linspace(0, 1, most))


def _best_of_grid(welfare: Welfare, thresholds: tuple[float, ...]) -> FloatArray:
    """The best of all schedules whose rates are on the grid, (1, B)."""
    return _highest(welfare, np.array(list(itertools.product(GRID, repeat=len(thresholds))), dtype=float))[:1]


def _peaks(welfare: Welfare, brackets: int) -> FloatArray:
    """Local optima (K, B) found from 32 starts, best first.

    The starts are 50 percent, schedules of few steps from the best to the worst, and good ones far from all those.
    """
    scanned = _highest(welfare, np.array(sorted(set(_few_steps(brackets))), dtype=float))
    starts = [np.full(brackets, 50.0), *scanned[:: len(scanned) // 20]]
    for rates in scanned:
        if min(np.abs(rates - other).max() for other in starts) > 20:
            starts.append(rates)
        if len(starts) == 32:
            break
    return _highest(welfare, np.unique([_climb(welfare, start, reach=2) for start in starts], axis=0))


def _climb(welfare: Welfare, start: FloatArray, *, reach: int) -> FloatArray:
    """From `start` (B,) always to the best neighbour in one rate, or else in up to `reach`, until none is better."""
    here, height = start, welfare(start[None])[0]
    moved = 1
    while moved <= reach:
        around = _neighbours(here, moved)
        heights = welfare(around)
        best = int(np.argmax(heights))
        # rounding is not progress, and could go round in circles
        if heights[best] > height + 1e-12 * abs(height):
            here, height, moved = around[best], heights[best], 1
        else:
            moved += 1
    return here


def _highest(welfare: Welfare, rates: FloatArray) -> FloatArray:
    """`rates` (S, B) from the best to the worst; equals in the order they came in."""
    return np.asarray(rates[np.argsort(-welfare(rates), kind="stable")])


def _neighbours(rates: FloatArray, moved: int) -> FloatArray:
    """All schedules (M, B) that differ from `rates` (B,) by 10 or 20 points in `moved` of the rates; in [0, 100]."""
    moves = np.kron(np.eye(len(rates)), [[-20], [-10], [10], [20]])
    # several moves of one rate are one other move of it, or none: no harm, and no case to tell apart
    taken = np.array(list(itertools.combinations(range(len(moves)), moved)))
    return np.asarray(np.clip(rates + moves[taken].sum(axis=1), 0, 100))


def _few_steps(brackets: int) -> Iterator[tuple[int, ...]]:
    """Every schedule of at most three rates out of 0, 20 ... 100, each held over neighbouring brackets."""
    for first, second in itertools.combinations(range(1, brackets), 2):
        for low, middle, high in itertools.product(GRID[::2], repeat=3):
            yield (low,) * first + (middle,) * (second - first) + (high,) * (brackets - second)
