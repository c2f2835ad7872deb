"""Income tax: bracket settings, the tax on an income, marginal rates and the rebate.

A tax law is a `TaxSchedule`: thresholds in dollars a year and marginal rates in percent; the last rate applies without
an upper limit. The revenue is returned in equal parts, the rebate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from signatures.types import LEAST_RATE, TaxSchedule

FloatArray = NDArray[np.float64]

ROUNDING = 1e-12
"""Incomes whose relative difference is below this are equal."""

US_FED = TaxSchedule(
    thresholds=(0, 11_600, 47_150, 100_525, 191_950, 243_725, 609_350),
    rates=(10, 12, 22, 24, 32, 35, 37),
)
"""The federal income tax of the United States in 2024 for a single filer, without deductions: the
seven rates are 26 U.S.C. 1(j), the thresholds Rev. Proc. 2023-34, section 3.01, table 3
(https://www.irs.gov/pub/irs-drop/rp-23-34.pdf). The tax on 100,000 dollars is 17,053."""

BRACKETS: dict[str, tuple[float, ...]] = {
    "flat": (0.0,),
    "three": (0.0, 90_000.0, 159_100.0),
    "US_FED": US_FED.thresholds,
}
"""The bracket settings by name: lower edges in dollars a year."""


def uniform(thresholds: tuple[float, ...], rate: float) -> TaxSchedule:
    """One rate, in percent, in every bracket.

    >>> uniform(BRACKETS["three"], 50).rates
    (50.0, 50.0, 50.0)
    """
    return TaxSchedule(thresholds=thresholds, rates=(rate,) * len(thresholds))


def within(before: ArrayLike, after: ArrayLike, lowest: float = 0.0) -> FloatArray:
    """Rates `after` a change of the rates `before`, of the same shape, in percent: kept within `lowest` to 100.

    A rate that was below `lowest` may be anything from what it was to 100; see `TaxSchedule.changed`.

    >>> within([10, -30], [-10, -40])
    array([  0., -30.])
    >>> within([10, -30], [-10, -40], lowest=-100)
    array([-10., -40.])
    """
    return np.asarray(np.clip(np.asarray(after, dtype=float), np.minimum(before, lowest), 100.0))


def lowest_rate(rates: Sequence[float]) -> float:
    """The lowest rate in percent that a planner may set if the law starts with `rates`: 0, or -100 if one is negative.

    >>> lowest_rate((10, 20)), lowest_rate((-7.65, 20))
    (0.0, -100.0)
    """
    return LEAST_RATE if min(rates, default=0.0) < 0 else 0.0


def with_deduction(schedule: TaxSchedule, deduction: float) -> TaxSchedule:
    """`schedule` as a tax on income above `deduction` dollars a year: a bracket of 0 percent, then its own brackets.

    >>> with_deduction(TaxSchedule(thresholds=(0, 10_000), rates=(10, 20)), 5_000)
    TaxSchedule(thresholds=(0.0, 5000.0, 15000.0), rates=(0.0, 10.0, 20.0))
    """
    if not deduction:
        return schedule
    edges = (deduction + edge for edge in schedule.thresholds)
    return TaxSchedule(thresholds=(0.0, *edges), rates=(0.0, *schedule.rates))


def summed(*schedules: TaxSchedule) -> TaxSchedule:
    """The sum of taxes that are levied together; adjacent brackets of the same rate become one.

    >>> summed(TaxSchedule(thresholds=(0, 50), rates=(10, 20)), TaxSchedule(thresholds=(0, 30), rates=(5, 0)))
    TaxSchedule(thresholds=(0.0, 30.0, 50.0), rates=(15.0, 10.0, 20.0))
    """
    edges = sorted({edge for schedule in schedules for edge in schedule.thresholds})
    rates = [round(sum(float(marginal_rate(schedule, edge)) for schedule in schedules), 9) for edge in edges]
    kept = [i for i, rate in enumerate(rates) if i == 0 or rate != rates[i - 1]]
    return TaxSchedule(thresholds=tuple(edges[i] for i in kept), rates=tuple(rates[i] for i in kept))


def tax(schedule: TaxSchedule, income: ArrayLike) -> FloatArray:
    """The tax on yearly `income`, both in dollars and of any shape; negative income pays 0.

    >>> [float(owed) for owed in tax(US_FED, [0, 11_600, 100_000])]
    [0.0, 1160.0, 17053.0]
    """
    z = np.asarray(income, dtype=float)
    owed = np.zeros_like(z)
    # T(z) = sum_j (tau_j - tau_j-1) * max(z - edge_j, 0): one pass per bracket, without an (N, brackets) temporary
    for edge, step in zip(schedule.thresholds, np.diff(schedule.rates, prepend=0.0), strict=True):
        owed += step / 100 * np.maximum(z - edge, 0.0)
    return owed


def taxes_under(thresholds: FloatArray, laws: FloatArray, incomes: FloatArray) -> FloatArray:
    """Taxes (S, N) under the `laws` (S, B), in percent, on the `incomes` (S, N) of 0 or more dollars a year.

    >>> taxes_under(np.array([0.0, 10_000.0]), np.array([[10.0, 20.0]]), np.array([[5_000.0, 30_000.0]]))
    array([[ 500., 5000.]])
    """
    taken = np.zeros_like(incomes)
    for edge, step in zip(thresholds, np.diff(laws, axis=1, prepend=0.0).T, strict=True):
        taken += step[:, None] / 100 * np.maximum(incomes - edge, 0.0)
    return taken


def marginal_rate(schedule: TaxSchedule, income: ArrayLike) -> FloatArray:
    """The tax rate in percent on the next dollar above yearly `income`; on an edge, the upper bracket's rate.

    >>> marginal_rate(US_FED, [11_599, 11_600, 1e9])
    array([10., 12., 37.])
    """
    return np.asarray(schedule.rates)[np.maximum(bracket_of(schedule, income), 0)]


def bracket_of(schedule: TaxSchedule, income: ArrayLike) -> NDArray[np.intp]:
    """The bracket, from 0, of the next dollar above yearly `income` of any shape; -1 for negative income.

    On an edge it is the upper bracket. An income within rounding of an edge is on it, because the income of optimal
    hours at a kink can be slightly above or below.

    >>> bracket_of(US_FED, [11_599, 11_600 * (1 - 1e-15), 11_600])
    array([0, 1, 1])
    """
    z = np.asarray(income, dtype=float)
    return np.asarray(np.searchsorted(schedule.thresholds, z * (1 + ROUNDING), side="right") - 1)


def people_in_brackets(schedule: TaxSchedule, income: ArrayLike) -> NDArray[np.int64]:
    """The number of incomes in each bracket (B,), from incomes (N,) of 0 or more dollars a year; see `bracket_of`.

    >>> people_in_brackets(TaxSchedule(thresholds=(0, 100), rates=(10, 20)), [0, 99, 100])
    array([2, 1])
    """
    counts = np.bincount(bracket_of(schedule, income), minlength=len(schedule.thresholds))
    return counts.astype(np.int64)


def rebate(taxes: ArrayLike) -> float:
    """The equal share of the revenue that each taxpayer gets back: the mean of `taxes`, dollars a year.

    >>> rebate([0, 1_000, 2_000])
    1000.0
    """
    return float(np.mean(np.asarray(taxes, dtype=float)))


def rates_in_words(rates: Sequence[float]) -> str:
    """`50/40/60`, percent, lowest bracket first."""
    return "/".join(f"{rate:g}" for rate in rates)
