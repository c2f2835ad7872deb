"""The elasticity of taxable income that workers show: log income on the log net-of-tax rate, within each worker.

Taking out each worker's mean is a regression with worker fixed effects. A worker chooses its income and with it its
bracket, so the net-of-tax rate is instrumented by the one at the income of 40 hours, which the worker does not choose
(Jonathan Gruber and Emmanuel Saez, "The elasticity of taxable income", Journal of Public Economics 84, 2002). Rates are
effective ones, tau*(1 - 1/N). Incomes of 0, and incomes on an edge, where the net-of-tax rate has two values, are left
out. If shocks change wages, the log wage is a control.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.economy.tax import FloatArray, marginal_rate
from pipeline.economy.utility import effective_share, income
from signatures.types import TaxSchedule

USUAL_HOURS = 40
"""The hours a week of the income at which the instrument is measured."""

LEAST_VARIANCE = 1e-10
"""A within-worker variance below this is rounding."""

INCOME, NET_RATE, INSTRUMENT, WAGE = range(4)
"""The columns of an observation, all in logs."""


class YearOfResponses(NamedTuple):
    """One year: `values` (N, 4), with the columns above, and who `counts` (N,)."""

    values: FloatArray
    counts: NDArray[np.bool_]


def year_of_responses(law: TaxSchedule, wages: ArrayLike, incomes: ArrayLike) -> YearOfResponses:
    """The observations of one year, from hourly `wages` (N,) and yearly `incomes` (N,) under `law`."""
    w, z = np.asarray(wages, dtype=float), np.asarray(incomes, dtype=float)
    share = effective_share(len(w))
    net, given = (1 - share * marginal_rate(law, at) / 100 for at in (z, income(w, USUAL_HOURS)))
    counts = (z > 0) & (net > 0) & (given > 0)
    for edge in law.thresholds[1:]:
        counts &= np.abs(z - edge) > 1e-9 * edge
    values = np.column_stack([z, net, given, w])
    return YearOfResponses(np.log(np.where(counts[:, None], values, 1.0)), counts)


@dataclass
class Responses:
    """Sums over years of what N workers did, so that a run of any length needs the memory of a few columns."""

    workers: int
    counts: FloatArray = field(init=False)
    sums: FloatArray = field(init=False)
    products: FloatArray = field(init=False)
    _latest: tuple[int, YearOfResponses] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.counts, self.sums = np.zeros(self.workers), np.zeros((self.workers, 4))
        self.products = np.zeros((4, 4))

    def add(self, year: int, observed: YearOfResponses) -> None:
        """Add a year after all earlier ones."""
        self._take_latest()
        self._latest = year, observed

    def elasticity(self, before: int) -> float | None:
        """The elasticity in the years before `before`, of which only the last one added may be left out.

        None if nothing is known of it: net-of-tax rates did not vary, or the estimate is not positive and finite.
        """
        if self._latest is not None and self._latest[0] < before:
            self._take_latest()
        seen = self.counts > 0
        means = self.sums[seen] / self.counts[seen, None]
        return positive(elasticity_of(self.products - means.T @ self.sums[seen], float(self.counts.sum())))

    def _take_latest(self) -> None:
        if self._latest is None:
            return
        values, counts = self._latest[1]
        kept = np.where(counts[:, None], values, 0.0)
        self.counts += counts
        self.sums += kept
        self.products += kept.T @ kept
        self._latest = None


def elasticity_of(moments: FloatArray, observations: float) -> float | None:
    """The instrumented slope from within-worker sums of products `moments` (4, 4); None without variation.

    >>> e = elasticity_of(np.array([[1, 2, 2, 0], [2, 4, 4, 0], [2, 4, 4, 0], [0, 0, 0, 0.0]]), 10)
    >>> float(e)
    0.5
    """
    if observations == 0 or moments[INSTRUMENT, INSTRUMENT] / observations < LEAST_VARIANCE:
        return None
    if moments[WAGE, WAGE] / observations >= LEAST_VARIANCE:
        moments = moments - np.outer(moments[:, WAGE], moments[WAGE]) / moments[WAGE, WAGE]
    if abs(moments[NET_RATE, INSTRUMENT]) / observations < LEAST_VARIANCE:
        return None
    return float(moments[INCOME, INSTRUMENT] / moments[NET_RATE, INSTRUMENT])


def positive(elasticity: float | None) -> float | None:
    """The elasticity if it is positive and finite, which the formula of optimal rates needs; else None."""
    return elasticity if elasticity is not None and 0 < elasticity < np.inf else None
