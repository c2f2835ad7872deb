"""Best hours with income effects, exact under any piecewise linear tax, given what the others' taxes bring.

    u = v(52*w*l - T*(1 - 1/N) + others) - cost(l)

`others` is the part of the rebate that does not depend on the worker's own hours. Within a bracket the income kept is
a*l + y with a = 52*w*(1 - tau*(1 - 1/N)), and the first-order condition is

    cost * power * l**(power - 1) * ((a*l + y)/c0)**gamma = a

Its left side rises with the hours, so that it has one root. With l = s*l0, where l0 is the root for y = 0, it becomes
s**(power - 1) * (s + q)**gamma = 1 with q = y/(a*l0): Newton's method in logarithms converges from the right, because
the condition is then convex. It is solved in those brackets at whose lower edge more hours pay and at whose upper edge
fewer do; the best of all these roots and of all edges, 0 and 100 hours among them, is the global optimum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.economy.effort import FLOOR, MAX_HOURS, WEEKS, Economy, cost_of_hours
from pipeline.economy.income_effects.consumption import worth
from pipeline.economy.tax import FloatArray

STEPS = 60
"""The most steps of Newton's method; it needs about five."""

CLOSE = 1e-14
"""The relative change of hours at which Newton's method ends."""

LEAST = -700.0
"""The least logarithm: its exponential is negligible in every sum here."""


class Replies(NamedTuple):
    """Best hours of N workers under S schedules, all (S, N).

    `labor`: hours a week. `slope`: how the yearly income changes with one dollar more from the others, -1/(net rate) to
    0; 0 for workers at a kink, at 0 or at 100 hours. `bracket`: that of the best hours, where `slope` is not 0.
    """

    labor: FloatArray
    slope: FloatArray
    bracket: NDArray[np.intp]


def best_hours(
    economy: Economy, edges: FloatArray, rates: FloatArray, wages: FloatArray, taxpayers: float, others: FloatArray
) -> Replies:
    """The best hours under each of the `rates` (S, B), in percent, on the brackets `edges` (B,).

    `wages` (N,): dollars an hour. `taxpayers` share the revenue. `others` (S, N): dollars a year. Ties go to fewer
    hours. There are no participation costs.
    """
    net, yearly = 1 - rates * (1 - 1 / taxpayers) / 100, WEEKS * wages
    top = MAX_HOURS * yearly
    kept, low, before = others, np.zeros_like(yearly), _at(economy, np.zeros_like(yearly), others)
    best, labor = before.value, np.zeros(others.shape)
    slope, bracket = np.zeros(others.shape), np.zeros(others.shape, dtype=np.intp)
    for j in range(len(edges)):
        high = np.minimum(edges[j + 1], top) if j + 1 < len(edges) else top
        if not (high > low).any():
            break
        share = net[:, j, None]
        then = kept + share * (high - low)
        after = _at(economy, high / yearly, then)
        with np.errstate(divide="ignore"):
            pays = np.log(np.maximum(share, 0.0)) + np.log(yearly)
        inside = (before.burden < pays) & (after.burden > pays) & (high > low)
        law, worker = np.nonzero(inside)
        own = economy.of(worker)
        lump = kept[law, worker] - share[law, 0] * low[worker]
        hours = _interior(own, share[law, 0], yearly[worker], lump)
        hours = hours.clip(low[worker] / yearly[worker], high[worker] / yearly[worker])
        consumption = share[law, 0] * yearly[worker] * hours + lump
        value = worth(economy, consumption) - cost_of_hours(own, hours)
        better = value > best[law, worker]
        here = law[better], worker[better]
        best[here], labor[here], bracket[here] = value[better], hours[better], j
        slope[here] = _slope(own, share[law, 0], yearly[worker], hours, consumption)[better]
        ends = after.value > best  # strictly: ties go to fewer hours
        np.copyto(best, after.value, where=ends)
        np.copyto(labor, np.broadcast_to(high / yearly, best.shape), where=ends)
        np.copyto(slope, 0.0, where=ends)
        kept, low, before = then, high, after
    return Replies(labor, slope, bracket)


class _Edge(NamedTuple):
    """At the hours (N,) of an edge, all (S, N): utility without a fixed cost of work, and the logarithm of the marginal
    cost of an hour over the worth of a dollar, which the yearly pay of an hour must exceed for more hours to pay."""

    value: FloatArray
    burden: FloatArray


def _at(economy: Economy, hours: FloatArray, consumption: FloatArray) -> _Edge:
    logs = np.log(np.maximum(consumption / economy.reference, FLOOR))
    with np.errstate(divide="ignore"):
        marginal = np.log(economy.effort * economy.power) + (economy.power - 1) * np.log(hours)
    return _Edge(worth(economy, consumption) - cost_of_hours(economy, hours), marginal + economy.gamma * logs)


def _slope(
    economy: Economy, net: FloatArray, yearly: FloatArray, hours: FloatArray, consumption: FloatArray
) -> FloatArray:
    """d(income)/d(others) at an interior optimum, by the implicit function theorem; -1/net at most."""
    wealth = economy.gamma * yearly * hours
    found = -wealth / ((economy.power - 1) * consumption + net * wealth)
    return np.where(consumption > FLOOR * economy.reference, found, 0.0)


def _interior(economy: Economy, net: FloatArray, yearly: FloatArray, lump: FloatArray) -> FloatArray:
    """Roots (K,) of the first-order condition for net rates above 0, pay per weekly hour and `lump`, all (K,)."""
    gamma, bend = economy.gamma, economy.power - 1
    log_pay, log_cost = np.log(net * yearly), np.log(economy.effort * economy.power)
    unit = gamma * np.log(economy.reference)
    alone = np.exp((unit + (1 - gamma) * log_pay - log_cost) / (bend + gamma))
    hours = alone * _scaled_root(bend, gamma, lump / (net * yearly * alone))
    # below the floor of consumption a dollar is worth no more than at the floor
    at_floor = np.exp((log_pay - log_cost - gamma * np.log(FLOOR)) / bend)
    return np.asarray(np.minimum(hours, at_floor))


def _scaled_root(bend: float | FloatArray, gamma: float, q: FloatArray) -> FloatArray:
    """The s above max(0, -q) with s**bend * (s + q)**gamma = 1, of any shape.

    With q of 0 or more the unknown is x = ln s, else x = ln(s + q). Both solve own*x + other*ln(e**x + |q|) = 0, whose
    left side is convex and rises, from a start at which it is not negative.
    """
    far = q >= 0
    own, other = np.where(far, bend, gamma), np.where(far, gamma, bend)
    size = np.abs(q)
    x = np.minimum(0.0, -other / own * np.log(np.maximum(size, np.finfo(float).tiny))).clip(LEAST)
    for _ in range(STEPS):
        grown = np.exp(x)
        total = grown + size
        step = (own * x + other * np.log(total)) / (own + other * grown / total)
        moved = np.maximum(x - step, LEAST)
        done = np.abs(moved - x).max(initial=0.0) <= CLOSE
        x = moved
        if done:
            break
    return np.asarray(np.where(far, np.exp(x), np.exp(x) + size))
