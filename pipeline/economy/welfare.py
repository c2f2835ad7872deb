"""What is good for all: welfare functions by name, and the inequality they look at.

Each is f(u, z, w): utility u and pre-tax income z in dollars a year, wage w in dollars an hour, over the
last axis. One population (N,) gives a float; many at once, u and z of shape (S, N), give (S,). All but `paper` come in
dollars a head and year: the equally distributed equivalent, which, given to everybody alike, would be worth as much. So
figures compare across numbers of people and seeds.
A new metric is one function and one entry in `WELFARE`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.tax import FloatArray

Value = Any
"""A float for one population (N,), an array (S,) for many (S, N)."""


def inverse_income(u: FloatArray, z: FloatArray, w: FloatArray) -> Value:
    """Mean utility with weights 1 / (income at 40 hours), dollars a year: fixed Pareto weights.

    The weights belong to the person, not to the choice of hours, which is what the marginal weights g of Saez
    (2001) mean; a worker gains no weight by idling.

    >>> inverse_income(np.array([30_000., 60_000.]), np.array([0., 0.]), np.array([8., 16.]))
    40000.0
    """
    return _plain(np.sum(u / w, axis=-1) / np.sum(1 / w, axis=-1))


def paper(u: FloatArray, z: FloatArray, w: FloatArray) -> Value:
    """Sum of u_i / max(z_i, 1): the formula of Karten et al. 2025 (arXiv 2507.15815) as released.

    One idle worker is divided by one dollar and drowns the rest; see `idle_share`.

    >>> paper(np.array([500., 500.]), np.array([1_000., 0.]), np.array([1., 1.]))
    500.5
    """
    return _plain(np.sum(u / np.maximum(z, 1.0), axis=-1))


def utilitarian(u: FloatArray, z: FloatArray, w: FloatArray) -> Value:
    """Mean utility, dollars a year.

    >>> utilitarian(np.array([10., 30.]), np.zeros(2), np.ones(2))
    20.0
    """
    return _plain(np.mean(u, axis=-1))


def rawlsian(u: FloatArray, z: FloatArray, w: FloatArray) -> Value:
    """Utility of the worst off, dollars a year (Rawls 1971).

    >>> rawlsian(np.array([10., 30.]), np.zeros(2), np.ones(2))
    10.0
    """
    return _plain(np.min(u, axis=-1))


def atkinson(u: FloatArray, z: FloatArray, w: FloatArray, aversion: float = 1.0) -> Value:
    """The utility that, given to everybody, would be worth as much as what there is, dollars a year (Atkinson 1970).

    With constant relative inequality `aversion` G: (mean of u^(1-G))^(1/(1-G)); at 1 the geometric mean, at 0 the mean.
    Utilities below one dollar count as one dollar, because powers and the logarithm need a floor.

    >>> round(atkinson(np.array([10., 1_000.]), np.zeros(2), np.ones(2)), 6)
    100.0
    >>> round(atkinson(np.array([10., 1_000.]), np.zeros(2), np.ones(2), aversion=2), 2)
    19.8
    """
    floored = np.maximum(u, 1.0)
    if aversion == 1:
        return _plain(np.exp(np.mean(np.log(floored), axis=-1)))
    # relative to the least (aversion above 1) or the greatest, so that no power leaves the range of a float
    unit = np.min(floored, axis=-1) if aversion > 1 else np.max(floored, axis=-1)
    powers = (floored / unit[..., None]) ** (1 - aversion)
    return _plain(unit * np.mean(powers, axis=-1) ** (1 / (1 - aversion)))


def equality_productivity(u: FloatArray, z: FloatArray, w: FloatArray) -> Value:
    """(1 - gini(u)) * mean(z), dollars a year: equality times productivity (Zheng et al. 2022, "The AI Economist").

    Equality is that of utility, here money less the money's worth of effort, because that is what a tax and
    its rebate can change; the gini of pre-tax income would not see redistribution at all.

    >>> equality_productivity(np.array([0., 8.]), np.array([100., 300.]), np.ones(2))
    100.0
    """
    return _plain((1 - gini(u)) * np.mean(z, axis=-1))


WelfareFunction = Callable[[FloatArray, FloatArray, FloatArray], Value]
"""f(utility, income, wage) over the last axis, as above."""

WELFARE: dict[str, WelfareFunction] = {
    "inverse_income": inverse_income,
    "paper": paper,
    "utilitarian": utilitarian,
    "rawlsian": rawlsian,
    "atkinson": atkinson,
    "equality_productivity": equality_productivity,
}
"""The planner's possible objectives, by the name that `--welfare` takes; `atkinson` at inequality aversion 1."""


def welfare_functions(inequality_aversion: float = 1.0) -> dict[str, WelfareFunction]:
    """`WELFARE` with `atkinson` at another inequality aversion, a number of 0 or more."""
    return {**WELFARE, "atkinson": partial(atkinson, aversion=inequality_aversion)}


def gini(x: ArrayLike) -> Value:
    """Gini coefficient over the last axis, from 0 (all equal) to 1 - 1/N (one has everything).

    Negative values count as 0; if nobody has anything, all are equal.

    >>> gini([1, 1, 1, 1]), gini([0, 0, 0, 8]), gini([0, 0])
    (0.0, 0.75, 0.0)
    """
    values = np.sort(np.maximum(np.asarray(x, dtype=float), 0.0), axis=-1)
    n = values.shape[-1]
    total = values.sum(axis=-1)
    # G = sum_i (2i - n - 1) x_(i) / (n * sum x), i = 1..n in ascending order
    spread = np.sum(values * (2.0 * np.arange(1, n + 1) - n - 1), axis=-1)
    return _plain(np.divide(spread, n * total, out=np.zeros_like(total), where=total > 0))


def idle_share(u: ArrayLike, z: ArrayLike) -> float:
    """How much of the `paper` sum the workers without income (z == 0) carry, from 0 to 1.

    Terms count by their size, so that a negative utility neither hides nor inflates the share. Above one half the
    metric says more about idleness than about taxes.

    >>> round(idle_share([500, 500], [1_000, 0]), 3)
    0.999
    """
    incomes = np.asarray(z, dtype=float)
    terms = np.abs(np.asarray(u, dtype=float) / np.maximum(incomes, 1.0))
    total = float(terms.sum())
    return float(terms[incomes == 0].sum()) / total if total > 0 else 0.0


def _plain(value: Any) -> Value:
    """A Python float where numpy gives a scalar, so that nothing prints as np.float64(...)."""
    return float(value) if np.ndim(value) == 0 else value
