"""Utility of workers, and their best-response hours under any piecewise linear tax.

    u = 52*w*l - T(52*w*l) + R - weeks*c*l**delta        dollars a year

Workers may differ in c and delta, and may have a fixed cost of work, which is lost at any hours above 0; see effort.py.

with hourly wage w, weekly hours l, tax T and rebate R. The constants are those of Karten et al. 2025
(arXiv 2507.15815), applied to weekly hours and hourly wages, the units in which they give plausible hours.

With `gamma` of the economy above 0 the money is worth v(money) instead (income_effects/), and hours depend on the
rebate. Otherwise utility is linear in money, so there is no income effect: the part of the rebate that others' taxes
pay for affects no choice. If N taxpayers share the revenue, a worker gets 1/N of its own tax back. Hours therefore
depend on the effective tax T*(1 - 1/N), with the effective marginal rate tau*(1 - 1/N). In a continuum, N is infinite
and the effective rate is the statutory one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.economy.effort import ECONOMIES as ECONOMIES
from pipeline.economy.effort import MAX_HOURS as MAX_HOURS
from pipeline.economy.effort import WEEKS as WEEKS
from pipeline.economy.effort import Economy as Economy
from pipeline.economy.effort import cost_of_hours
from pipeline.economy.effort import effort_cost as effort_cost
from pipeline.economy.income_effects.best_hours import best_hours
from pipeline.economy.income_effects.consumption import worth
from pipeline.economy.tax import FloatArray, tax, taxes_under
from signatures.types import TaxSchedule

CONTINUUM = math.inf
"""A number of taxpayers so large that none of a worker's own tax comes back to it."""


MOST_COMPARED = 7
"""With more brackets than this, the best response to a single law is found by `_hours_under_one`."""

WORKERS_AT_ONCE = 2**14
"""Workers solved at a time, so that the arrays fit into the processor's cache."""


class Response(NamedTuple):
    """Best responses of N workers to S schedules, each field (S, N).

    `labor` in hours a week; `income` and `tax` in dollars a year; `surplus` = income - tax - effort cost,
    i.e. utility before the rebate.
    """

    labor: FloatArray
    income: FloatArray
    tax: FloatArray
    surplus: FloatArray


def income(wage: ArrayLike, labor: ArrayLike) -> FloatArray:
    """Yearly income before tax, in dollars, at `wage` dollars an hour and `labor` hours a week.

    >>> float(income(25, 40))
    52000.0
    """
    return np.asarray(WEEKS * np.asarray(wage, dtype=float) * np.asarray(labor, dtype=float))


def utility(economy: Economy, posttax_income: ArrayLike, labor: ArrayLike) -> FloatArray:
    """Isoelastic utility in dollars a year: income after tax and rebate, less the cost of effort.

    With income effects it is what that income is worth, in dollars a year at the reference consumption.

    >>> round(float(utility(Economy(), 40_000, 40)), 2)
    29475.94
    >>> round(float(utility(Economy(gamma=1.0), 40_000, 40)), 2)
    28318.76
    """
    return worth(economy, posttax_income) - effort_cost(economy, labor)


def adjusted_utility(utility: ArrayLike, satisfied: ArrayLike, r: float = 0.5) -> FloatArray:
    """Utility adjusted for satisfaction with the tax policy: u, or u - (1-r)*|u| for workers who are not `satisfied`.

    The absolute value makes dissatisfaction a loss even when utility is negative; r*u would then be a gain.

    >>> adjusted_utility([100, 100, -100], [True, False, False])
    array([ 100.,   50., -150.])
    """
    u = np.asarray(utility, dtype=float)
    return np.where(np.asarray(satisfied, dtype=bool), u, u - (1 - r) * np.abs(u))


def evenly_spaced(wages: FloatArray, most: int) -> NDArray[np.intp]:
    """The numbers of all workers in ascending order of `wages` (N,), or of `most` that are evenly spaced in it.

    >>> evenly_spaced(np.array([3.0, 1.0, 2.0]), 2)
    array([1, 0])
    """
    order = np.argsort(wages, kind="stable")
    return order if len(wages) <= most else order[np.linspace(0, len(wages) - 1, most).round().astype(int)]


def effective_share(taxpayers: float) -> float:
    """The factor 1 - 1/N: the part of a worker's tax that does not come back if N `taxpayers` share the revenue.

    Raises ValueError for fewer than one taxpayer.

    >>> effective_share(5), effective_share(CONTINUUM)
    (0.8, 1.0)
    """
    if not taxpayers >= 1:
        raise ValueError(f"the number of taxpayers must be at least 1, not {taxpayers:g}")
    return 1 - 1 / taxpayers


def respond(economy: Economy, thresholds: ArrayLike, rates: ArrayLike, wages: ArrayLike, taxpayers: float) -> Response:
    """Exact best responses to many schedules on the same brackets, in continuous hours.

    `thresholds` (B,) dollars a year, `rates` (S, B) percent, `wages` (N,) dollars an hour; `taxpayers` share the
    revenue. Within a bracket, utility is concave in hours, so the best hours are the interior optimum clipped to the
    hours that earn an income in that bracket. The best over all brackets is the global optimum, also for schedules that
    are not convex. Clipping covers the kinks, 0 and 100. A fixed cost of work does not depend on the hours above 0, so
    these are the best of them, and a worker whom they do not repay the cost works 0 hours. Ties go to fewer hours.
    Memory is O(S*N); the caller cuts S into chunks.

    Raises ValueError if a wage is not positive, if there is no taxpayer, or with income effects, with which hours also
    depend on the rebate (`equilibrium.replies`).
    """
    _without_income_effects(economy)
    edges, laws, w = (np.asarray(x, dtype=float) for x in (thresholds, rates, wages))
    if not (w > 0).all():
        raise ValueError(f"wages must be positive dollars an hour, not {w.min():g}")
    share = effective_share(taxpayers)
    effective = laws * share
    if len(laws) == 1 and len(edges) > MOST_COMPARED:
        labor = _hours_under_one(economy, edges, laws[0], w, taxpayers)[None]
        earned, cost = income(w, labor), effort_cost(economy, labor)
        taken = taxes_under(edges, laws, earned)
        return Response(labor, earned, taken, earned - taken - cost)
    # effective tax at each lower edge, (S, B)
    owed = np.cumsum(effective[:, :-1] / 100 * np.diff(edges), axis=1)
    owed = np.concatenate([np.zeros((len(laws), 1)), owed], axis=1)
    replies, row = _best_in_brackets(economy, edges, effective, w)
    # in bracket j T(z) = tau_j*z - offset_j
    offset = effective / 100 * edges - owed
    kept = replies.kept[row[:, 0]] + offset[:, :1]
    chosen = np.repeat(row[:, :1], len(w), axis=1)
    for bracket in range(1, len(edges)):
        other = replies.kept[row[:, bracket]] + offset[:, bracket, None]
        # strictly better: brackets come in order of hours, so ties go to fewer hours
        better = other > kept
        np.copyto(kept, other, where=better)
        np.copyto(chosen, row[:, bracket, None], where=better)
    place = chosen * len(w) + np.arange(len(w))
    labor, earned, cost = (column.take(place) for column in (replies.labor, replies.income, replies.cost))
    if economy.participation_costs is not None:
        works = kept > economy.participation_costs
        kept = np.where(works, kept - economy.participation_costs, 0.0)
        labor, earned = np.where(works, labor, 0.0), np.where(works, earned, 0.0)
        cost = np.where(works, cost + economy.participation_costs, 0.0)
    # with one taxpayer the whole tax comes back, so the tax cannot be derived from the income kept
    taken = (earned - cost - kept) / share if share > 0 else taxes_under(edges, laws, earned)
    return Response(labor, earned, taken, kept - taken / taxpayers)


def _hours_under_one(
    economy: Economy, edges: FloatArray, rates: FloatArray, wages: FloatArray, taxpayers: float
) -> FloatArray:
    """Best hours (N,) under a single law with many brackets, `rates` (B,) in percent.

    At an interior optimum the first-order condition gives the cost of effort without a power, and at an edge the cost
    is a product of powers of the edge and of the wage. One pass over the brackets therefore finds each worker's best
    one, and the exact hours are computed for that one only.
    """
    effective = rates * effective_share(taxpayers) / 100
    offset = effective * edges - np.concatenate([[0.0], np.cumsum(effective[:-1] * np.diff(edges))])
    beyond = np.append(edges[1:], np.inf)
    labor = np.empty(len(wages))
    for first in range(0, len(wages), WORKERS_AT_ONCE):
        some = slice(first, first + WORKERS_AT_ONCE)
        part = economy.of(some)
        wage = wages[some]
        chosen, kept = _best_bracket(part, edges, effective, offset, wage)
        hours = _interior(part, (1 - effective[chosen]) * wage)
        hours = hours.clip(edges[chosen] / (WEEKS * wage), beyond[chosen] / (WEEKS * wage)).clip(0, MAX_HOURS)
        labor[some] = hours if part.participation_costs is None else np.where(kept > part.participation_costs, hours, 0)
    return labor


def _best_bracket(
    economy: Economy, edges: FloatArray, effective: FloatArray, offset: FloatArray, wages: FloatArray
) -> tuple[NDArray[np.intp], FloatArray]:
    """The bracket (N,) of the best hours above 0, and what they bring (N,) before a fixed cost of work.

    `effective` rates (B,) as shares; the tax in bracket j is rate*z - offset (B,). The cost grows with income z, so the
    cost of an income that is clipped is the clipped cost.
    """
    yearly = WEEKS * wages
    untaxed = _interior(economy, wages) * yearly
    of_edge = economy.effort * yearly**-economy.power  # the cost of earning z is this times z**delta
    most, cost_of_most = MAX_HOURS * yearly, economy.effort * MAX_HOURS**economy.power
    best, chosen = np.full(len(wages), -np.inf), np.zeros(len(wages), dtype=np.intp)
    net, least, dearest = 1 - effective, most.min(), np.zeros(len(wages))
    for j, low in enumerate(edges):
        wanted = net[j] ** economy.response * untaxed
        cheapest, top, dearest = dearest, most, np.broadcast_to(cost_of_most, len(wages))
        if j + 1 < len(edges):
            top = np.minimum(edges[j + 1], most)
            dearest = np.minimum(edges[j + 1] ** economy.power * of_edge, cost_of_most)
        kept = net[j] * wanted.clip(low, top)
        kept -= (net[j] / economy.power * wanted).clip(cheapest, dearest)
        kept += offset[j]
        if low >= least:
            np.copyto(kept, -np.inf, where=most <= low)
        # strictly better: brackets come in order of hours, so ties go to fewer hours
        better = kept > best
        np.copyto(best, kept, where=better)
        np.copyto(chosen, j, where=better)
    return chosen, best


class _Replies(NamedTuple):
    """Best responses within one bracket at one rate, each (K, N) for K pairs of a bracket and a rate.

    `kept` = income - effective rate * income - `cost` of effort; -inf if even 100 hours do not reach the bracket.
    """

    labor: FloatArray
    income: FloatArray
    cost: FloatArray
    kept: FloatArray


def _best_in_brackets(
    economy: Economy, edges: FloatArray, laws: FloatArray, wages: FloatArray
) -> tuple[_Replies, NDArray[np.intp]]:
    """The best responses with an income in each bracket, and their rows (S, B) by law and bracket.

    `laws` (S, B): effective rates in percent.
    """
    levels, bracket, row = _by_rate(laws)
    share = levels[:, None] / 100
    reached = edges[:, None] / (WEEKS * wages)
    beyond = np.vstack([reached[1:], np.full(len(wages), np.inf)])
    labor = _interior(economy, (1 - share) * wages).clip(reached[bracket], beyond[bracket]).clip(0, MAX_HOURS)
    earned, cost = income(wages, labor), cost_of_hours(economy, labor)
    kept = np.where(reached[bracket] < MAX_HOURS, (1 - share) * earned - cost, -np.inf)
    return _Replies(labor, earned, cost, kept), row


def _by_rate(laws: FloatArray) -> tuple[FloatArray, NDArray[np.intp], NDArray[np.intp]]:
    """The distinct pairs of bracket and rate in `laws` (S, B): rates (K,), brackets (K,), and indices (S, B) of pairs.

    Schedules share rates (a 10-point grid has eleven), so powers are computed once per pair.
    """
    brackets = np.arange(laws.shape[1])
    if len(laws) == 1:
        return laws[0], brackets, brackets[None]
    levels, level = np.unique(laws, return_inverse=True)
    pair = level.reshape(laws.shape) + brackets * len(levels)
    there = np.bincount(pair.ravel(), minlength=laws.shape[1] * len(levels)) > 0
    bracket, level = np.divmod(np.flatnonzero(there), len(levels))
    return levels[level], bracket, (np.cumsum(there) - 1)[pair]


def _interior(economy: Economy, net_wage: FloatArray) -> FloatArray:
    """Hours at which the net wage equals the marginal cost of effort: 52*(1-tau)*w = weeks*c*delta*l**(delta-1)."""
    hours: FloatArray = (WEEKS * net_wage / (economy.effort * economy.power)) ** economy.response
    return hours


def _without_income_effects(economy: Economy) -> None:
    if economy.gamma:
        raise ValueError(f"with income effects (gamma {economy.gamma:g}) best hours depend on the rebate")


def best_response(
    economy: Economy, schedule: TaxSchedule, wage: ArrayLike, taxpayers: float, others: ArrayLike | None = None
) -> FloatArray:
    """Utility-maximizing hours a week, continuous in [0, 100], at each hourly `wage` of any shape.

    `taxpayers` share the revenue. `others`: the rebate from the others' taxes, dollars a year, of the shape of `wage`;
    needed with income effects, and without effect otherwise. Exact for every schedule, also where rates fall; see
    `respond`. Raises ValueError for a wage that is not positive, or without `others` if they matter.

    >>> from pipeline.economy.tax import US_FED, uniform
    >>> best_response(Economy(), uniform((0,), 50), [10, 20], CONTINUUM).round(2)
    array([24.12, 31.83])
    >>> best_response(Economy(), uniform((0,), 50), [10, 20], taxpayers=2).round(2)
    array([28.37, 37.43])
    """
    wages = np.asarray(wage, dtype=float)
    rates = np.array([schedule.rates])
    if economy.gamma and others is not None:
        lump = np.broadcast_to(np.asarray(others, dtype=float), wages.shape).reshape(1, -1)
        edges = np.array(schedule.thresholds)
        return best_hours(economy, edges, rates, wages.ravel(), taxpayers, lump).labor.reshape(wages.shape)
    _without_income_effects(economy)
    if len(schedule.rates) > MOST_COMPARED and (wages > 0).all():
        edges = np.array(schedule.thresholds)
        return _hours_under_one(economy, edges, rates[0], wages.ravel(), taxpayers).reshape(wages.shape)
    return respond(economy, schedule.thresholds, rates, wages.ravel(), taxpayers).labor.reshape(wages.shape)


def best_response_on_grid(
    economy: Economy, schedule: TaxSchedule, wage: ArrayLike, taxpayers: float, step: int = 10
) -> FloatArray:
    """The best of the hours 0, `step`, 2*`step` ... up to 100 at each hourly `wage` of any shape; ties go to fewer.

    `taxpayers` share the revenue. Raises ValueError unless `step` is from 1 to 100, or with income effects.

    >>> from pipeline.economy.tax import US_FED
    >>> best_response_on_grid(Economy(), US_FED, [10, 20], CONTINUUM)
    array([30., 40.])
    """
    if not 1 <= step <= MAX_HOURS:
        raise ValueError(f"step must be from 1 to {MAX_HOURS} hours, not {step}")
    _without_income_effects(economy)
    wages, share = np.asarray(wage, dtype=float), effective_share(taxpayers)
    best = np.zeros_like(wages)
    highest = np.zeros_like(wages)  # the utility of no work, before the rebate
    for hours in range(step, MAX_HOURS + 1, step):
        earned = income(wages, hours)
        kept = utility(economy, earned - share * tax(schedule, earned), hours)
        better = kept > highest
        best[better] = hours
        highest = np.maximum(highest, kept)
    return best
