"""Optimal tax rates by the formula of Saez (2001), for taxes that are linear within brackets.

    tau_j = (1 - G_j) / (1 - G_j + a_j * e_j)

e_j is the elasticity of income in bracket j with respect to the net-of-tax rate. Raising tau_j by one point collects,
from everybody, one per cent of the dollars m_ij that lie inside the bracket, M_j in all; only workers with an interior
optimum in the bracket answer at the margin. Workers at the cap of hours and those who bunch at a kink do not. With the
incomes z_i of those who answer, and welfare weights g_i = dW/du_i of mean one,

    a_j = (sum of their z_i) / M_j      G_j = (sum over all of g_i*m_ij) / M_j

In the top bracket a_j is the Pareto parameter z_m/(z_m - edge) of the textbooks. Incomes and weights follow from the
rates, so the rates are iterated to a fixed point. Two terms make it the first-order condition of N workers, too:

- of a worker's own tax 1/N comes back to it. The formula gives the effective rate tau*(1 - 1/N), and a worker's answer
  counts for the others only: z_i*(1 - g_i/N) in a_j.
- a welfare function can value income by itself (`direct` in welfare_weights.py); that much of a tax is forgone:
  tau_j = (1 - G_j - a_j*e_j*direct) / (1 - G_j + a_j*e_j).

It is a condition at the margin: workers about to jump across a gap, where rates fall, are not in it.

Emmanuel Saez, "Using Elasticities to Derive Optimal Income Tax Rates", Review of Economic Studies 68 (2001);
Emmanuel Saez and Stefanie Stantcheva, "Generalized Social Marginal Welfare Weights for Optimal Tax Theory", American
Economic Review 106 (2016).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.economy.tax import FloatArray
from pipeline.economy.utility import CONTINUUM, MAX_HOURS, Economy, effective_share, respond
from pipeline.economy.welfare import welfare_functions
from pipeline.economy.welfare_weights import Weights, weight_function
from signatures.types import TaxSchedule

MOST_CELLS = 2_000
"""A larger population is summed up in so many groups of neighbouring wages."""

STARTS = (20.0, 35.0, 50.0, 65.0, 80.0, 95.0)
"""Percent in every bracket, from which the iteration is begun: among few workers there can be several fixed points."""

ITERATIONS = 200
TOLERANCE = 0.005
"""Points: a rate that would move by less stands."""

NEAR, NEAR_OF_MANY = 3.0, 1000.0
"""Where no start settles, schedules count that the formula would move by no more than `NEAR` points, or
`NEAR_OF_MANY` / N points if that is less: the more workers, the less does one who bunches or jumps move it."""


def saez(
    economy: Economy,
    thresholds: tuple[float, ...],
    wages: ArrayLike,
    elasticities: Sequence[float] = (0.4,),
    *,
    welfare: str = "inverse_income",
    inequality_aversion: float = 1.0,
    windfall: float = 0.0,
) -> TaxSchedule:
    """The Saez rates for workers with hourly `wages` (N,) who best-respond, rounded to 0.01 percent.

    `elasticities`: one for all brackets, or one for each. `welfare`: a name in `WELFARE`, whose weights g are used.
    `windfall`: dollars a year that each gets from outside. The iteration moves part of the way at each step, from each
    of the `STARTS`; of several fixed points the one with the highest welfare is taken. Among few workers none may be
    reached, for workers bunch and jump: then it is the best of the schedules that the formula would move by no more
    than `NEAR` points, or else the one that it would move least.

    Raises ValueError for a wrong number of elasticities or a negative one.

    >>> from pipeline.economy.tax import BRACKETS
    >>> saez(Economy(), BRACKETS["three"], [5, 10, 20, 40, 80, 160], [0.4]).rates[0] > 50
    True
    >>> saez(Economy(), BRACKETS["three"], [5, 10, 20, 40, 80, 160], [0.4], welfare="utilitarian").rates
    (0.0, 0.0, 0.0)
    """
    e = _per_bracket(elasticities, len(thresholds))
    count = np.size(wages)
    wage, inverse_wage = _cells(np.asarray(wages, dtype=float))
    weights_of = weight_function(welfare, inequality_aversion)
    objective = welfare_functions(inequality_aversion)[welfare]
    rates = np.repeat(np.array(STARTS)[:, None], len(thresholds), axis=1)
    passed: list[tuple[FloatArray, FloatArray, FloatArray]] = []  # rates, how far the formula moves them, welfare
    for iteration in range(ITERATIONS):
        reply = respond(economy, thresholds, rates, wage, count)
        u = reply.surplus + reply.tax.mean(axis=1, keepdims=True) + windfall
        # cells stand for workers of different wages: 1/inverse_wage is the one wage that has their weight
        heights = objective(u, reply.income, 1 / inverse_wage)
        weights = weights_of(u, reply.income, inverse_wage)
        answers = responds_at_the_margin(thresholds, reply.income, reply.labor)
        move = saez_rates(thresholds, reply.income, weights, e, answers, taxpayers=count) - rates
        farthest = np.abs(move).max(axis=1)
        passed.append((rates, farthest, heights))
        if farthest.max() < TOLERANCE:
            break
        # ever smaller steps, so that a cycle of workers jumping between brackets dies down
        rates = rates + move / (2 + iteration / 10)
    everywhere, farthest, heights = (np.concatenate(part) for part in zip(*passed, strict=True))
    best = _most_settled(everywhere, farthest, heights, min(NEAR, NEAR_OF_MANY / count))
    return TaxSchedule(thresholds=thresholds, rates=tuple(float(rate) for rate in best.round(2)))


def _most_settled(rates: FloatArray, farthest: FloatArray, heights: FloatArray, near: float) -> FloatArray:
    """Of schedules (K, B) the best by `heights` (K,) that the formula moves by next to nothing, or else by at most
    `near` points, or else the least.

    `farthest` (K,): how many points it moves the rate that it moves most.
    """
    limits = (TOLERANCE, near, float(farthest.min()))
    settled = next(farthest <= limit for limit in limits if (farthest <= limit).any())
    return np.asarray(rates[int(np.argmax(np.where(settled, heights, -np.inf)))])


def responds_at_the_margin(thresholds: ArrayLike, incomes: FloatArray, labor: FloatArray) -> NDArray[np.bool_]:
    """Whose best reply (..., N) is an interior optimum: between 0 hours and the cap, and at no edge of a bracket.

    `incomes` in dollars a year, `labor` in hours a week.
    """
    answers: NDArray[np.bool_] = (labor > 0) & (labor < MAX_HOURS)
    for edge in np.asarray(thresholds, dtype=float)[1:]:
        answers &= np.abs(incomes - edge) > 1e-9 * edge
    return answers


def saez_rates(
    thresholds: ArrayLike,
    incomes: ArrayLike,
    weights: Weights,
    elasticities: ArrayLike,
    answers: ArrayLike,
    taxpayers: float = CONTINUUM,
) -> FloatArray:
    """The formula once: rates (..., B) in percent at given `incomes` (..., N) in dollars and welfare `weights`.

    `elasticities` (B,). `answers` (..., N): who responds at the margin. A bracket that fewer than two workers reach is
    taken as part of the one below, so no rate rests on a tail that is not there. Where nobody earns anything, there is
    nothing to tax, and rates are 0.

    >>> even = Weights(np.array([1.5, 0.5]), np.zeros(2))
    >>> saez_rates([0], [20_000, 60_000], even, [0.4], [True, True]).round(2)
    array([38.46])
    """
    edges, z, e = (np.asarray(x, dtype=float) for x in (thresholds, incomes, elasticities))
    answering = np.asarray(answers, dtype=bool)
    share = effective_share(taxpayers)
    others = 1 - weights.g / taxpayers
    # all brackets at once, (B, ..., N), and summed over the last axis as one bracket alone would be
    low, high, e = (x.reshape(-1, *[1] * z.ndim) for x in (edges, np.append(edges[1:], np.inf), e))
    inside = np.minimum(np.maximum(z - low, 0), high - low)
    earned = np.where(answering & (z >= low) & (z < high), z, 0.0)
    e, total = e[..., 0], inside.sum(axis=-1)
    gain = _over(((1 - weights.g) * inside).sum(axis=-1), total)
    lost = e * _over((earned * others).sum(axis=-1), total)
    forgone = share * e * _over((earned * np.where(earned > 0, weights.direct, 0)).sum(axis=-1), total)
    effective = _over(np.maximum(gain - forgone, 0), np.maximum(gain, 0) + lost)
    rates = np.clip(100 * _over(effective, np.asarray(share)), 0, 100)
    reached = (z > low).sum(axis=-1) >= 2
    for bracket in range(1, len(edges)):
        rates[bracket] = np.where(reached[bracket], rates[bracket], rates[bracket - 1])
    return np.moveaxis(rates, 0, -1)


def _over(part: FloatArray, whole: FloatArray) -> FloatArray:
    """`part` / `whole`, and 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)


def _cells(wages: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Wages in ascending order with 1/wage; the means of equal groups of neighbours when there are many."""
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
