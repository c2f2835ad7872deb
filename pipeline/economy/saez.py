"""Optimal tax rates by the formula of Saez (2001), for taxes that are linear within brackets.

    tau_j = (1 - G_j) / (1 - G_j + a_j * e_j)

e_j is the elasticity of income in bracket j with respect to the net-of-tax rate. Raising tau_j by one point
collects, from everybody, one per cent of the dollars m_i that lie inside the bracket; only those whose last
dollar lies there respond. So, with incomes z_i and welfare weights g_i of mean one,

    a_j = (sum of the z_i that lie in bracket j) / (sum of m_i)      G_j = (sum of g_i*m_i) / (sum of m_i)

In the top bracket a_j is the Pareto parameter z_m/(z_m - edge) of the textbooks, in a narrow one the local
parameter z*h(z)/(1-H(z)) with G_j the mean weight above; a single bracket gives the optimal linear tax.
Incomes respond to the rates, so the rates are iterated to a fixed point.

Emmanuel Saez, "Using Elasticities to Derive Optimal Income Tax Rates", Review of Economic Studies 68 (2001);
Peter Diamond and Emmanuel Saez, "The Case for a Progressive Tax", Journal of Economic Perspectives 25 (2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.tax import FloatArray
from pipeline.economy.utility import Economy, respond
from signatures.types import TaxSchedule

MOST_CELLS = 5_000
"""A larger population is summed up in so many groups of neighbouring wages."""

NODES = np.array([NormalDist().inv_cdf((k + 0.5) / 15) for k in range(15)])
"""Midpoint quantiles of the standard normal: the shape of the kernel that smooths log incomes."""


def saez(
    economy: Economy,
    thresholds: tuple[float, ...],
    wages: ArrayLike,
    elasticities: Sequence[float] = (0.4,),
    *,
    max_iterations: int = 200,
    tolerance: float = 0.005,
) -> TaxSchedule:
    """The Saez rates for workers with hourly `wages` (N,) who best-respond, rounded to 0.01 percent.

    `elasticities`: one for all brackets, or one for each. Weights are 1 / (income at 40 hours). The iteration starts
    at 50 percent, moves part of the way at each step, and ends when no rate would move by `tolerance` points or
    after `max_iterations`: workers who jump between brackets can keep few incomes from settling exactly.

    Raises ValueError for a wrong number of elasticities or a negative one.

    >>> from pipeline.economy.tax import BRACKETS
    >>> saez(Economy(), BRACKETS["three"], [5, 10, 20, 40, 80, 160], [0.4]).rates[0] > 50
    True
    """
    e = _per_bracket(elasticities, len(thresholds))
    wage, weights = _cells(np.asarray(wages, dtype=float))
    rates = np.full(len(thresholds), 50.0)
    for iteration in range(max_iterations):
        incomes = respond(economy, thresholds, rates[None], wage).income[0]
        move = saez_rates(thresholds, incomes, weights, e) - rates
        if np.abs(move).max() < tolerance:
            break
        # ever smaller steps, so that a cycle of workers jumping between brackets dies down
        rates += move / (2 + iteration / 10)
    return TaxSchedule(thresholds=thresholds, rates=tuple(float(rate) for rate in rates.round(2)))


def saez_rates(thresholds: ArrayLike, incomes: ArrayLike, weights: ArrayLike, elasticities: ArrayLike) -> FloatArray:
    """The formula once: rates (B,) in percent for given `incomes` (N,) in dollars and welfare `weights` (N,).

    `elasticities` (B,). A sample is not a distribution, so incomes are smoothed first. A bracket that
    fewer than two workers reach is taken as part of the one below, so no rate rests on a tail that is not there.

    Raises ValueError if nobody earns anything.

    >>> saez_rates([0], [20_000, 60_000], [1.5, 0.5], [0.4]).round(2)
    array([38.46])
    """
    edges, z, e = (np.asarray(x, dtype=float) for x in (thresholds, incomes, elasticities))
    g = np.asarray(weights, dtype=float)
    if not (z > 0).any():
        raise ValueError("Saez rates need incomes, and nobody earns anything")
    top = max([0, *(j for j in range(len(edges)) if np.count_nonzero(z >= edges[j]) >= 2)])
    pareto, above = _by_bracket(edges[: top + 1], _smoothed(z), g / g.mean())
    pareto, above = (np.pad(x, (0, len(edges) - top - 1), mode="edge") for x in (pareto, above))
    gain = np.maximum(1 - above, 0)
    lost = gain + pareto * e
    rates: FloatArray = 100 * np.divide(gain, lost, out=np.zeros_like(gain), where=lost > 0)
    return rates


def _by_bracket(edges: FloatArray, incomes: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """a_j and G_j of `incomes` (K, N), for each bracket; the last one is open.

    Where no income lies in a bracket, a_j is that of the nearest bracket with incomes, the lower of two.
    """
    upper = np.append(edges[1:], np.inf)
    inside = [np.clip(incomes - low, 0, high - low) for low, high in zip(edges, upper, strict=True)]
    taxed = np.array([dollars.sum() for dollars in inside])
    weighted = np.array([(weights * dollars).sum() for dollars in inside])
    residents = [(incomes >= low) & (incomes < high) for low, high in zip(edges, upper, strict=True)]
    earned = np.array([incomes[here].sum() for here in residents])
    populated = np.flatnonzero(earned > 0)
    nearest = [populated[np.argmin(np.abs(populated - j))] for j in range(len(edges))]
    return np.take(earned / taxed, nearest), weighted / taxed


def _smoothed(incomes: FloatArray) -> FloatArray:
    """Each income (N,) spread over 15 (15, N) by a normal kernel on its logarithm; bandwidth by Silverman's rule."""
    logs = np.log(incomes[incomes > 0])
    # never 0, so that workers who bunch on an edge lie on both sides of it
    bandwidth = max(0.01, 1.06 * logs.std() * len(logs) ** -0.2)
    return np.asarray(np.exp(bandwidth * NODES)[:, None] * incomes)


def _cells(wages: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Wages in ascending order with weights 1/wage; the means of equal groups of neighbours when there are many."""
    cells = np.array_split(np.sort(wages), min(len(wages), MOST_CELLS))
    return np.array([cell.mean() for cell in cells]), np.array([(1 / cell).mean() for cell in cells])


def _per_bracket(elasticities: Sequence[float], brackets: int) -> FloatArray:
    """One elasticity for each bracket, a single one repeated."""
    e = np.asarray(elasticities, dtype=float)
    if e.shape not in ((1,), (brackets,)):
        raise ValueError(f"{brackets} brackets need 1 elasticity or {brackets}, not {e.size}")
    if (e < 0).any():
        raise ValueError(f"an elasticity is 0 or more, not {e.min():g}")
    return np.broadcast_to(e, (brackets,))
