"""Marginal social welfare weights of each welfare function, for the optimal tax formula.

`g`, dW/du scaled to mean one, is the generalized social marginal welfare weight (Saez and Stantcheva 2016, American
Economic Review 106(1), 24-45). `direct` is the marginal value of income before tax itself, dW/dz in dollars of mean
weight; it is 0 for functions of utilities only.

For SAEZ to support a welfare function, it needs an entry in `WEIGHTS`, or, if it is a user's own one, `weights`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from pipeline.economy.tax import FloatArray
from pipeline.economy.welfare import gini, own_function

UNBOUNDED = 1e9
"""A direct value of income, in dollars per dollar, above anything that a tax can collect."""


class Weights(NamedTuple):
    """Both (..., N): `g` with mean one over the last axis, and `direct` in dollars per dollar of income."""

    g: FloatArray
    direct: FloatArray


WeightFunction = Callable[[FloatArray, FloatArray, FloatArray], Weights]
"""f(u, z, 1/w) over the last axis: utility and income in dollars a year, inverse wages in hours per dollar."""


def _scaled(derivative: FloatArray) -> Weights:
    """The weights of a function of utilities only, from its derivative."""
    g = derivative / derivative.mean(axis=-1, keepdims=True)
    return Weights(g, np.zeros_like(g))


def inverse_income(u: FloatArray, z: FloatArray, inverse_wage: FloatArray) -> Weights:
    """1 / (income at 40 hours), regardless of actual income."""
    return _scaled(np.broadcast_to(inverse_wage, np.shape(u)))


def utilitarian(u: FloatArray, z: FloatArray, inverse_wage: FloatArray) -> Weights:
    """1 for every worker."""
    return _scaled(np.ones_like(u))


def rawlsian(u: FloatArray, z: FloatArray, inverse_wage: FloatArray) -> Weights:
    """All weight on the worst off, in equal parts if there are several."""
    lowest = u.min(axis=-1, keepdims=True)
    return _scaled((u <= lowest + 1e-9 * np.abs(lowest)).astype(float))


def atkinson(u: FloatArray, z: FloatArray, inverse_wage: FloatArray, aversion: float = 1.0) -> Weights:
    """u^-aversion, and 0 where u is below one dollar, the floor of the function; equal weights if all are below."""
    floored = np.maximum(u, 1.0)
    least = floored.min(axis=-1, keepdims=True)
    derivative = np.where(u >= 1, (floored / least) ** -aversion, 0.0)
    none = ~derivative.any(axis=-1, keepdims=True)
    return _scaled(np.where(none, 1.0, derivative))


def equality_productivity(u: FloatArray, z: FloatArray, inverse_wage: FloatArray) -> Weights:
    """The derivatives of (1 - gini(u)) * mean(z) with respect to utility (by rank) and to income (through the mean).

    If all utilities are equal it has no derivative; then `g` is one and `direct` is `UNBOUNDED`, so only income counts.
    """
    n = u.shape[-1]
    rank = np.argsort(np.argsort(u, axis=-1, kind="stable"), axis=-1, kind="stable") + 1
    total, mean_income = u.sum(axis=-1, keepdims=True), z.mean(axis=-1, keepdims=True)
    inequality = np.asarray(gini(u))[..., None]
    by_utility = mean_income * (inequality / total - (2 * rank - n - 1) / (n * total))
    mean = by_utility.mean(axis=-1, keepdims=True)
    spread = mean > 0
    g = np.divide(by_utility, mean, out=np.ones_like(by_utility), where=np.broadcast_to(spread, by_utility.shape))
    direct = np.divide((1 - inequality) / n, mean, out=np.full_like(mean, UNBOUNDED), where=spread)
    return Weights(g, np.broadcast_to(direct, u.shape))


WEIGHTS: Mapping[str, WeightFunction] = {
    "inverse_income": inverse_income,
    "paper": inverse_income,
    "utilitarian": utilitarian,
    "rawlsian": rawlsian,
    "atkinson": atkinson,
    "equality_productivity": equality_productivity,
}
"""Weights by the names of `WELFARE`. `paper` uses those of `inverse_income`, as in the LLM Economist (Karten et al.
2025, arXiv 2507.15815): its sum has no derivative where a worker earns less than a dollar, and its maximum has idle
workers."""


def weight_function(name: str, inequality_aversion: float = 1.0) -> WeightFunction:
    """The weights of a welfare function, with `atkinson` at the given inequality aversion."""
    own = own_function(name)
    if own is not None:
        return lambda u, z, inverse_wage: _scaled(own.weights(u, z, inverse_wage))
    return partial(atkinson, aversion=inequality_aversion) if name == "atkinson" else WEIGHTS[name]


def has_weights(name: str) -> bool:
    """Whether the weights of a welfare function are known; those of a user's own function only if it has `weights`."""
    own = own_function(name)
    return own is None or own.has_weights
