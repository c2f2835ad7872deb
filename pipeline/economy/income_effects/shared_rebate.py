"""The equilibrium with income effects: hours depend on the rebate, and the rebate on everybody's hours.

Worker i gets others_i = R - T_i/N besides what it keeps of its own tax, with the rebate R = mean(T) + windfall. Leisure
is a normal good, so a higher `others` never raises best hours, whatever the brackets: the worth of a dollar falls with
consumption (monotone comparative statics, Topkis 1978). If no rate is negative, no worker's tax rises with it either.
The mean tax then falls in R, and without jumps there is one equilibrium. Where rates fall a worker may jump to fewer
hours; its hours are strategic substitutes for the others', so that an equilibrium exists (Kukushkin 1994), but there
may be several. With negative rates there may be none.

Newton's method solves for all `others` of a schedule at once: each tax depends on its worker's own `others` only, so
the linear system is a diagonal plus one rank and costs O(N). It starts where everybody works 40 hours, which decides
between several equilibria. Two workers who jump together may do so without end, so that later they jump one at a time:
in games of this kind replies in turn converge (Dubey, Haimanko and Zapechelnyuk 2006). If even these go round in a
circle, the last ones are taken: then some worker could gain by a jump, and `regret` says how much.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.economy.effort import FULL_TIME, WEEKS, Economy
from pipeline.economy.income_effects.best_hours import Replies, best_hours
from pipeline.economy.tax import FloatArray, taxes_under

STEPS = 60
"""The most steps of Newton's method; it needs about six."""

TOGETHER = 10
"""After so many steps only one worker jumps at a time: two who jump together may do so without end."""

A_DOLLAR, STEEPEST = 1.0, 10.0
"""A change of yearly income is a jump above a dollar and above so many times the change of what the others bring."""

MOST_IN_TURN = 300
"""Up to so many workers reply in turn if Newton's method does not converge."""

ROUNDS = 60
"""The most rounds in which workers reply in turn."""

CLOSE = 1e-11
"""The error of `others`, as a share of the rebate and the mean wage bill, at which a schedule is solved."""


def equilibrium_hours(
    economy: Economy,
    edges: FloatArray,
    rates: FloatArray,
    wages: FloatArray,
    taxpayers: float,
    windfall: float = 0.0,
) -> FloatArray:
    """Hours a week (S, N) in the equilibrium of each of the `rates` (S, B), in percent, on the brackets `edges` (B,).

    `wages` (N,): dollars an hour; they are all taxpayers, or a sample of `taxpayers` who share the revenue. `windfall`:
    dollars a year that each worker gets from outside. Each schedule is solved independently of the others.
    """
    usual = taxes_under(edges, rates, np.broadcast_to(WEEKS * FULL_TIME * wages, (len(rates), len(wages))))
    others = usual.mean(axis=1, keepdims=True) + windfall - usual / taxpayers
    labor: FloatArray = np.empty_like(others)
    at = others.copy()  # the `others` at which `labor` replies
    scale = CLOSE * (WEEKS * FULL_TIME * float(wages.mean()) + abs(windfall))
    open_ = np.arange(len(rates))
    for step in range(STEPS):
        here, before = rates[open_], others[open_]
        reply = best_hours(economy, edges, here, wages, taxpayers, before)
        hours, slope, held = reply.labor, reply.slope, np.zeros(len(open_), dtype=bool)
        if step >= TOGETHER:
            hours, slope, held = _one_jump_each(reply, labor[open_], np.abs(before - at[open_]), wages)
        labor[open_], at[open_] = hours, before
        taken = taxes_under(edges, here, WEEKS * wages * hours)
        rebate = taken.mean(axis=1, keepdims=True) + windfall
        error = np.abs(before + taken / taxpayers - rebate).max(axis=1)
        wrong = held | (error > scale + CLOSE * np.abs(rebate[:, 0]))
        if not wrong.any():
            return labor
        open_ = open_[wrong]
        marginal = np.take_along_axis(here, reply.bracket, axis=1) / 100
        others[open_] = _newton(before, taken, marginal * slope, taxpayers, windfall)[wrong]
    if len(wages) <= MOST_IN_TURN:
        labor[open_] = _in_turn(economy, edges, rates[open_], wages, taxpayers, windfall, labor[open_])
    return labor


def _one_jump_each(
    reply: Replies, before: FloatArray, moved: FloatArray, wages: FloatArray
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Hours and slopes (S, N) in which under each schedule only the worker with the longest jump jumps, and which
    schedules (S,) keep others from one.

    `before`: the hours of the last step. `moved`: how far `others` moved since, in dollars; income moves at most by a
    multiple of that if it does not jump.
    """
    change = WEEKS * wages * np.abs(reply.labor - before)
    jumps = change > A_DOLLAR + STEEPEST * moved
    first = np.zeros_like(jumps)
    np.put_along_axis(first, np.where(jumps, change, 0.0).argmax(axis=1)[:, None], True, axis=1)
    waits = jumps & ~first
    return np.where(waits, before, reply.labor), np.where(jumps, 0.0, reply.slope), np.asarray(waits.any(axis=1))


def _newton(others: FloatArray, taken: FloatArray, slope: FloatArray, taxpayers: float, windfall: float) -> FloatArray:
    """The `others` (S, N) at which linear taxes, `taken` + `slope` * change, balance the budget."""
    share = 1 + slope / taxpayers  # above 0, as a worker never loses more than it gets
    share = np.maximum(share, 1e-9)
    flat = taken - slope * others
    # others = (R - flat/N)/share, and R = windfall + mean(flat + slope*others)
    known = windfall + (flat - slope / share * flat / taxpayers).mean(axis=1, keepdims=True)
    rebate = known / (1 - (slope / share).mean(axis=1, keepdims=True))
    return np.asarray((rebate - flat / taxpayers) / share)


def _in_turn(
    economy: Economy,
    edges: FloatArray,
    rates: FloatArray,
    wages: FloatArray,
    taxpayers: float,
    windfall: float,
    labor: FloatArray,
) -> FloatArray:
    """Hours (S, N) after rounds in which one worker after the other replies, until no tax changes."""
    taken = taxes_under(edges, rates, WEEKS * wages * labor)
    for _ in range(ROUNDS):
        before = taken.copy()
        for i in range(len(wages)):
            others = taken.mean(axis=1) - taken[:, i] / taxpayers + windfall
            one = slice(i, i + 1)
            labor[:, one] = best_hours(economy.of(one), edges, rates, wages[one], taxpayers, others[:, None]).labor
            taken[:, one] = taxes_under(edges, rates, WEEKS * wages[one] * labor[:, one])
        if np.abs(taken - before).max(initial=0.0) <= CLOSE * WEEKS * FULL_TIME * float(wages.mean()):
            break
    return labor
