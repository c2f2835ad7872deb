"""Tax laws and what they take: brackets by name, the tax on an income, the rate on its last dollar.

A law is one `TaxSchedule`: thresholds in dollars a year, marginal rates in percent, and the last rate
applies without end. What is collected goes back to everybody in equal parts, the rebate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from signatures.types import TaxSchedule

FloatArray = NDArray[np.float64]

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


def tax(schedule: TaxSchedule, income: ArrayLike) -> FloatArray:
    """What `schedule` takes from yearly `income`, both in dollars and of any shape; income below 0 pays 0.

    >>> [float(owed) for owed in tax(US_FED, [0, 11_600, 100_000])]
    [0.0, 1160.0, 17053.0]
    """
    z = np.asarray(income, dtype=float)
    owed = np.zeros_like(z)
    # T(z) = sum_j (tau_j - tau_j-1) * max(z - edge_j, 0): one pass a bracket, no (N, brackets) temporary
    for edge, step in zip(schedule.thresholds, np.diff(schedule.rates, prepend=0.0), strict=True):
        owed += step / 100 * np.maximum(z - edge, 0.0)
    return owed


def marginal_rate(schedule: TaxSchedule, income: ArrayLike) -> FloatArray:
    """Percent that the next dollar above yearly `income` pays; on an edge that is the upper bracket's rate.

    >>> marginal_rate(US_FED, [11_599, 11_600, 1e9])
    array([10., 12., 37.])
    """
    bracket = np.searchsorted(schedule.thresholds, np.asarray(income, dtype=float), side="right") - 1
    return np.asarray(schedule.rates)[np.maximum(bracket, 0)]


def rebate(taxes: ArrayLike) -> float:
    """The equal share of the revenue that every taxpayer gets back: the mean of `taxes`, dollars a year.

    >>> rebate([0, 1_000, 2_000])
    1000.0
    """
    return float(np.mean(np.asarray(taxes, dtype=float)))
