"""Optimal marginal tax rates by the formulas of Saez (2001) and, with fixed costs of work, of Saez (2002).

    tau_j = (1 - G_j) / (1 - G_j + a_j * e_j)

e_j is the elasticity of income in bracket j with respect to the net-of-tax rate. Raising tau_j by one point collects
one percent of the dollars m_ij that each worker i earns inside the bracket, M_j in total. Only workers with an interior
optimum in the bracket respond at the margin; those at the cap on hours and those who bunch at a kink do not. With the
incomes z_i of those who respond, and welfare weights g_i = dW/du_i of mean one,

    a_j = (sum of their z_i) / M_j      G_j = (sum over all of g_i*m_ij) / M_j

In the top bracket a_j is the textbook Pareto parameter z_m/(z_m - edge). Incomes and weights depend on the rates, so
the rates are iterated to a fixed point. Two terms adapt the first-order condition to a finite number N of workers:

- A worker gets 1/N of its own tax back. The formula therefore gives the effective rate tau*(1 - 1/N), and the revenue
  effect of a worker's response counts for the others only: z_i*(1 - g_i/N) in a_j.
- A welfare function can value income directly (`direct` in welfare_weights.py), which lowers the rate:
  tau_j = (1 - G_j - a_j*e_j*direct) / (1 - G_j + a_j*e_j).

The condition is local: it ignores workers who would jump between brackets where rates fall.

With fixed costs of work, a higher tau_j also makes some workers stop, whose whole tax T_i is lost: f_i*m_ij of those
like i, with the density f_i of participation.py. Saez (2002) sets 1 - g_i - eta_i*T_i/(z_i - T_i), with the elasticity
eta_i of participation, in place of 1 - g_i; summed over a bracket this is

    sum_i (1 - g_i)*m_ij - sum_i f_i*T_i*m_ij = tau_j/(1 - tau_j) * e_j * (sum of z_i of those who respond)

a quadratic equation in tau_j, because T_i contains tau_j*m_ij. Its solution can be negative: to pay for work is optimal
if the poorest workers have a high weight and many of them stop or start working. Without fixed costs it is the formula
above.

Emmanuel Saez, "Using Elasticities to Derive Optimal Income Tax Rates", Review of Economic Studies 68 (2001);
Emmanuel Saez and Stefanie Stantcheva, "Generalized Social Marginal Welfare Weights for Optimal Tax Theory", American
Economic Review 106 (2016); Emmanuel Saez, "Optimal Income Transfer Programs: Intensive versus Extensive Labor Supply
Responses", Quarterly Journal of Economics 117 (2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.economy.public_finance.participation import participation
from pipeline.economy.tax import FloatArray
from pipeline.economy.utility import CONTINUUM, MAX_HOURS, Economy, effective_share, evenly_spaced, respond
from pipeline.economy.welfare import welfare_function
from pipeline.economy.welfare_weights import Weights, weight_function
from signatures.types import TaxSchedule

MOST_CELLS = 2_000
"""A larger population is aggregated into this many groups of adjacent wages."""

MOST_ALONE = 20_000
"""The most workers that are taken one by one."""

STARTS = (20.0, 35.0, 50.0, 65.0, 80.0, 95.0)
"""Starting rates in percent: with few workers there can be several fixed points."""

ITERATIONS = 200
TOLERANCE = 0.005
"""The iteration has converged when no rate moves by this many points."""

NEAR, NEAR_OF_MANY = 3.0, 1000.0
"""If no start converges, schedules qualify that the formula would move by at most `NEAR` points, or by at most
`NEAR_OF_MANY` / N points if that is less: the more workers, the less one that bunches or jumps matters."""


def saez(
    economy: Economy,
    thresholds: tuple[float, ...],
    wages: ArrayLike,
    elasticities: Sequence[float] = (0.4,),
    *,
    welfare: str = "inverse_income",
    inequality_aversion: float = 1.0,
    windfall: float = 0.0,
    extensive: bool = False,
) -> TaxSchedule:
    """The Saez rates for workers with hourly `wages` (N,) who best-respond, rounded to 0.01 percent.

    `elasticities`: one for all brackets, one for each, or none: in each bracket the mean of the workers' own, weighted
    by the incomes of those who respond. `welfare`: a name in `WELFARE`, whose weights g are used.
    `windfall`: dollars a year that each worker gets from outside. `extensive`: whether the formula knows that a fixed
    cost of work makes workers stop (Saez 2002); rates are then from -100 to 100, otherwise from 0. A damped iteration
    runs from each of the `STARTS`; of several fixed points, the one with the highest welfare is returned. With few
    workers, who bunch and jump, it may not converge. The result is then the best of the schedules that the formula
    would move by at most `NEAR` points, or else the one that it would move least.

    Raises ValueError for a wrong number of elasticities or a negative elasticity.

    >>> from pipeline.economy.tax import BRACKETS
    >>> saez(Economy(), BRACKETS["three"], [5, 10, 20, 40, 80, 160], [0.4]).rates[0] > 50
    True
    >>> saez(Economy(), BRACKETS["three"], [5, 10, 20, 40, 80, 160], [0.4], welfare="utilitarian").rates
    (0.0, 0.0, 0.0)
    """
    e = _per_bracket(elasticities or (1.0,), len(thresholds))
    count = np.size(wages)
    economy, wage, inverse_wage = _cells(economy, np.asarray(wages, dtype=float))
    own: ArrayLike = 1.0 if elasticities else economy.response
    weights_of = weight_function(welfare, inequality_aversion)
    objective = welfare_function(welfare, inequality_aversion)
    rates = np.repeat(np.array(STARTS)[:, None], len(thresholds), axis=1)
    passed: list[tuple[FloatArray, FloatArray, FloatArray]] = []  # rates, how far the formula moves them, welfare
    for iteration in range(ITERATIONS):
        reply = respond(economy, thresholds, rates, wage, count)
        u = reply.surplus + reply.tax.mean(axis=1, keepdims=True) + windfall
        # a cell aggregates different wages; 1/inverse_wage is the wage with the cell's mean weight
        heights = objective(u, reply.income, 1 / inverse_wage)
        weights = weights_of(u, reply.income, inverse_wage)
        answers = responds_at_the_margin(thresholds, reply.income, reply.labor)
        leaving = _leaving(economy, thresholds, rates, wage, count) if extensive else None
        to = saez_rates(thresholds, reply.income, weights, e, answers, taxpayers=count, own=own, leaving=leaving)
        move = to - rates
        farthest = np.abs(move).max(axis=1)
        passed.append((rates, farthest, heights))
        if farthest.max() < TOLERANCE:
            break
        # ever smaller steps damp cycles of workers who jump between brackets
        rates = rates + move / (2 + iteration / 10)
    everywhere, farthest, heights = (np.concatenate(part) for part in zip(*passed, strict=True))
    best = _most_settled(everywhere, farthest, heights, min(NEAR, NEAR_OF_MANY / count))
    return TaxSchedule(thresholds=thresholds, rates=tuple(float(rate) for rate in best.round(2)))


def _most_settled(rates: FloatArray, farthest: FloatArray, heights: FloatArray, near: float) -> FloatArray:
    """The best of the `rates` (K, B) that qualify: converged, or else within `near` points, or else closest.

    `heights` (K,): welfare. `farthest` (K,): the largest move of a rate by the formula, in points.
    """
    limits = (TOLERANCE, near, float(farthest.min()))
    settled = next(farthest <= limit for limit in limits if (farthest <= limit).any())
    return np.asarray(rates[int(np.argmax(np.where(settled, heights, -np.inf)))])


def responds_at_the_margin(thresholds: ArrayLike, incomes: FloatArray, labor: FloatArray) -> NDArray[np.bool_]:
    """Whose best response (..., N) is interior: between 0 hours and the cap, and not at the edge of a bracket.

    `incomes` in dollars a year, `labor` in hours a week.
    """
    answers: NDArray[np.bool_] = (labor > 0) & (labor < MAX_HOURS)
    for edge in np.asarray(thresholds, dtype=float)[1:]:
        answers &= np.abs(incomes - edge) > 1e-9 * edge
    return answers


class Leaving(NamedTuple):
    """Who would stop working: the `rates` (..., B) in force, in percent, and for all workers (..., N), working or not,
    the `income` at their best hours above 0, and the share who stop per dollar that working brings less (`density`)."""

    rates: FloatArray
    income: FloatArray
    density: FloatArray


def _leaving(
    economy: Economy, thresholds: tuple[float, ...], rates: FloatArray, wages: FloatArray, taxpayers: float
) -> Leaving | None:
    """Who would stop working under each of the `rates` (S, B); None without fixed costs of work."""
    if economy.participation_costs is None:
        return None
    margin = participation(economy, thresholds, rates, wages, taxpayers)
    return Leaving(rates, margin.income, margin.density)


def saez_rates(
    thresholds: ArrayLike,
    incomes: ArrayLike,
    weights: Weights,
    elasticities: ArrayLike,
    answers: ArrayLike,
    taxpayers: float = CONTINUUM,
    own: ArrayLike = 1.0,
    leaving: Leaving | None = None,
) -> FloatArray:
    """Apply the formula once: rates (..., B) in percent at given `incomes` (..., N) in dollars and welfare `weights`.

    `elasticities` (B,), times each worker's `own` (N,). `answers` (..., N): who responds at the margin. `leaving`: who
    would stop working, for the formula of Saez (2002). A bracket that fewer than two workers reach gets the rate of the
    bracket below. If there is no income, rates are 0.

    >>> even = Weights(np.array([1.5, 0.5]), np.zeros(2))
    >>> saez_rates([0], [20_000, 60_000], even, [0.4], [True, True]).round(2)
    array([38.46])
    """
    edges, z, e = (np.asarray(x, dtype=float) for x in (thresholds, incomes, elasticities))
    answering = np.asarray(answers, dtype=bool)
    share = effective_share(taxpayers)
    others = 1 - weights.g / taxpayers
    # all brackets at once, (B, ..., N), summed over the last axis so that rounding is the same as for one bracket
    low, high, e = (x.reshape(-1, *[1] * z.ndim) for x in (edges, np.append(edges[1:], np.inf), e))
    inside = np.minimum(np.maximum(z - low, 0), high - low)
    earned = np.where(answering & (z >= low) & (z < high), z, 0.0) * own
    e, total = e[..., 0], inside.sum(axis=-1)
    gain = _over(((1 - weights.g) * inside).sum(axis=-1), total)
    lost = e * _over((earned * others).sum(axis=-1), total)
    forgone = share * e * _over((earned * np.where(earned > 0, weights.direct, 0)).sum(axis=-1), total)
    if leaving is None:
        effective = _over(np.maximum(gain - forgone, 0), np.maximum(gain, 0) + lost)
        rates = np.clip(100 * _over(effective, np.asarray(share)), 0, 100)
    else:
        would = np.minimum(np.maximum(leaving.income - low, 0), high - low)
        theirs = np.moveaxis(leaving.rates, -1, 0)[..., None] * (share / 100) * would
        stop, value = leaving.density * would, share * leaving.income * weights.direct
        elsewhere = (stop * ((theirs.sum(axis=0) - theirs) * others + value)).sum(axis=-1)
        here = (stop * would * others).sum(axis=-1)
        effective = _with_extensive(gain - _over(elsewhere, total), lost, forgone, _over(here, total))
        rates = np.clip(100 * _over(effective, np.asarray(share)), -100, 100)
    reached = (z > low).sum(axis=-1) >= 2
    for bracket in range(1, len(edges)):
        rates[bracket] = np.where(reached[bracket], rates[bracket], rates[bracket - 1])
    return np.moveaxis(rates, 0, -1)


def _with_extensive(gain: FloatArray, lost: FloatArray, forgone: FloatArray, here: FloatArray) -> FloatArray:
    """The rate t with (gain - t*here)*(1 - t) = t*lost + forgone, as a share, that is below 1; 0 if no one responds.

    `here`: the tax lost per unit of the rate itself as workers stop. With `here` 0, (gain - forgone)/(gain + lost).
    """
    net, both = gain - forgone, gain + here + lost
    root = np.sqrt(np.maximum(both**2 - 4 * here * net, 0))
    return _over(2 * net, both + root)


def _over(part: FloatArray, whole: FloatArray) -> FloatArray:
    """`part` / `whole`, and 0 where `whole` is not positive."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)


def _cells(economy: Economy, wages: FloatArray) -> tuple[Economy, FloatArray, FloatArray]:
    """Wages in ascending order and their inverses; means over groups of adjacent wages if there are many.

    With tastes, workers are in the order of wage / taste, because those for whom it is equal choose equal hours. In a
    calibrated economy that ratio hardly varies, and with own elasticities it does not determine hours, so workers are
    not grouped; nor are they with fixed costs of work. Of more than `MOST_ALONE`, as many evenly spaced in the order of
    wages are taken.
    """
    if not economy.usual or economy.participation_costs is not None:
        some = evenly_spaced(wages, MOST_ALONE)
        return economy.of(some), wages[some], 1 / wages[some]
    per_taste = wages if economy.tastes is None else wages / economy.tastes
    order = np.array_split(np.argsort(per_taste, kind="stable"), min(len(wages), MOST_CELLS))
    if economy.tastes is not None:
        economy = replace(economy, tastes=np.array([economy.tastes[cell].mean() for cell in order]))
    cells = [wages[cell] for cell in order]
    return economy, np.array([cell.mean() for cell in cells]), np.array([(1 / cell).mean() for cell in cells])


def _per_bracket(elasticities: Sequence[float], brackets: int) -> FloatArray:
    """Elasticities (B,), with a single one repeated."""
    e = np.asarray(elasticities, dtype=float)
    if e.shape not in ((1,), (brackets,)):
        raise ValueError(f"{brackets} brackets need 1 elasticity or {brackets}, not {e.size}")
    if (e < 0).any():
        raise ValueError(f"an elasticity must be 0 or more, not {e.min():g}")
    return np.broadcast_to(e, (brackets,))
