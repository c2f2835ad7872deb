"""Social welfare functions and the Gini coefficient.

Each welfare function is f(u, z, w) over the last axis: utility u and income before tax z in dollars a year, wage w in
dollars an hour. One population (N,) gives a float; u and z of shape (S, N) give (S,). All but `paper` return dollars
per person and year, the equally distributed equivalent: the utility that would give the same welfare if everybody had
it. Values are therefore comparable across population sizes and seeds.
To add a welfare function, write one function and one entry in `WELFARE`; a user's own one needs neither
(user_parts/welfare.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.tax import FloatArray
from pipeline.economy.user_parts.welfare import OwnWelfare, own_welfare
from programs.plugins import WELFARE_FUNCTION, Parts

Value = Any
"""A float for one population (N,), an array (S,) for many (S, N)."""


def inverse_income(u: FloatArray, z: FloatArray, w: FloatArray) -> Value:
    """Mean utility weighted by 1 / (income at 40 hours), dollars a year: fixed Pareto weights.

    The weights depend on the worker's wage and not on its hours, like the marginal weights g of Saez (2001), so a
    worker gains no weight by working less.

    >>> inverse_income(np.array([30_000., 60_000.]), np.array([0., 0.]), np.array([8., 16.]))
    40000.0
    """
    return _plain(np.sum(u / w, axis=-1) / np.sum(1 / w, axis=-1))


def paper(u: FloatArray, z: FloatArray, w: FloatArray) -> Value:
    """Sum of u_i / max(z_i, 1): the formula in the released code of Karten et al. 2025 (arXiv 2507.15815).

    The utility of an idle worker is divided by one dollar and dominates the sum; see `idle_share`.

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
    """The smallest utility, dollars a year (Rawls 1971).

    >>> rawlsian(np.array([10., 30.]), np.zeros(2), np.ones(2))
    10.0
    """
    return _plain(np.min(u, axis=-1))


def atkinson(u: FloatArray, z: FloatArray, w: FloatArray, aversion: float = 1.0) -> Value:
    """The equally distributed equivalent utility, dollars a year (Atkinson 1970).

    With constant relative inequality `aversion` G: (mean of u^(1-G))^(1/(1-G)); at 1 the geometric mean, at 0 the mean.
    Utilities below one dollar count as one dollar, because the power and the logarithm need positive values.

    >>> round(atkinson(np.array([10., 1_000.]), np.zeros(2), np.ones(2)), 6)
    100.0
    >>> round(atkinson(np.array([10., 1_000.]), np.zeros(2), np.ones(2), aversion=2), 2)
    19.8
    """
    floored = np.maximum(u, 1.0)
    if aversion == 1:
        return _plain(np.exp(np.mean(np.log(floored), axis=-1)))
    # relative to the smallest utility (aversion above 1) or the largest, so that no power overflows
    unit = np.min(floored, axis=-1) if aversion > 1 else np.max(floored, axis=-1)
    powers = (floored / unit[..., None]) ** (1 - aversion)
    return _plain(unit * np.mean(powers, axis=-1) ** (1 / (1 - aversion)))


def equality_productivity(u: FloatArray, z: FloatArray, w: FloatArray) -> Value:
    """(1 - gini(u)) * mean(z), dollars a year: equality times productivity (Zheng et al. 2022, "The AI Economist").

    Equality refers to utility (income after tax and rebate minus the cost of effort), because a tax and its rebate can
    change it; the Gini coefficient of income before tax would ignore redistribution.

    >>> equality_productivity(np.array([0., 8.]), np.array([100., 300.]), np.ones(2))
    100.0
    """
    return _plain((1 - gini(u)) * np.mean(z, axis=-1))


WelfareFunction = Callable[[FloatArray, FloatArray, FloatArray], Value]
"""f(utility, income, wage) over the last axis; see the module's docstring."""

WELFARE: Parts[WelfareFunction] = Parts(
    WELFARE_FUNCTION,
    {
        "inverse_income": inverse_income,
        "paper": paper,
        "utilitarian": utilitarian,
        "rawlsian": rawlsian,
        "atkinson": atkinson,
        "equality_productivity": equality_productivity,
    },
    own_welfare,
)
"""The planner's possible objectives, by their name in `--welfare`; `atkinson` with inequality aversion 1."""


def welfare_functions(inequality_aversion: float = 1.0) -> dict[str, WelfareFunction]:
    """The built-in functions of `WELFARE`, with `atkinson` at the given inequality aversion, 0 or more."""
    return {**WELFARE, "atkinson": partial(atkinson, aversion=inequality_aversion)}


def welfare_function(name: str, inequality_aversion: float = 1.0) -> WelfareFunction:
    """The welfare function called `name`, built in or the user's own."""
    return partial(atkinson, aversion=inequality_aversion) if name == "atkinson" else WELFARE[name]


def own_function(name: str) -> OwnWelfare | None:
    """The user's own welfare function of that name; None for a built-in one."""
    found = WELFARE[name]
    return found if isinstance(found, OwnWelfare) else None


def gini(x: ArrayLike) -> Value:
    """The Gini coefficient over the last axis, from 0 (all equal) to 1 - 1/N (one has everything).

    Negative values count as 0; if all values are 0, so is the coefficient.

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
    """The share of workers without income (z == 0) in the `paper` sum, from 0 to 1.

    Terms count with their absolute value, so that a negative utility neither hides nor inflates the share. Above one
    half, the metric says more about idleness than about taxes.

    >>> round(idle_share([500, 500], [1_000, 0]), 3)
    0.999
    """
    incomes = np.asarray(z, dtype=float)
    terms = np.abs(np.asarray(u, dtype=float) / np.maximum(incomes, 1.0))
    total = float(terms.sum())
    return float(terms[incomes == 0].sum()) / total if total > 0 else 0.0


def _plain(value: Any) -> Value:
    """Convert a numpy scalar to a Python float, so that it does not print as np.float64(...)."""
    return float(value) if np.ndim(value) == 0 else value
