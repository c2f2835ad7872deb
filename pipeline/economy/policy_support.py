"""Political support for tax schedules: workers' utilities under each of them, majorities, and the quality of ballots.

A utility matrix is (V, C): voters by alternatives. A voter is indifferent between utilities whose relative difference
is below `INDIFFERENT`, because such a difference is due to rounding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.economy.equilibrium import CHUNK, utilities_with_income_effects
from pipeline.economy.tax import FloatArray
from pipeline.economy.utility import Economy, respond

INDIFFERENT = 1e-9


def prospects(
    economy: Economy, thresholds: ArrayLike, rates: ArrayLike, wages: ArrayLike, windfall: float = 0.0
) -> FloatArray:
    """Utility (N, S), dollars a year, of workers with hourly `wages` (N,) under each of the `rates` (S, B), in percent.

    All workers best-respond, and the mean tax is rebated. `windfall`: dollars a year that each worker gets from
    outside, which matters with income effects only: without them it adds the same to all utilities and is left out.

    >>> prospects(Economy(), (0,), [[0], [50]], [10, 40]).round()
    array([[11821., 33585.],
           [82327., 58722.]])
    """
    laws, w = np.asarray(rates, dtype=float), np.asarray(wages, dtype=float)
    rows = max(1, CHUNK // len(w))
    found = np.empty((len(w), len(laws)))
    for first in range(0, len(laws), rows):
        if economy.gamma:
            edges, some = np.asarray(thresholds, dtype=float), laws[first : first + rows]
            utility, _ = utilities_with_income_effects(economy, edges, some, w, len(w), windfall)
            found[:, first : first + rows] = utility.T
            continue
        reply = respond(economy, thresholds, laws[first : first + rows], w, len(w))
        found[:, first : first + rows] = (reply.surplus + reply.tax.mean(axis=1, keepdims=True)).T
    return found


def preferred(utility: ArrayLike) -> NDArray[np.int64]:
    """The number of voters who prefer alternative i to j, (C, C), given their `utility` (V, C).

    >>> preferred([[3, 1, 1], [2, 5, 0]])
    array([[0, 1, 2],
           [1, 0, 1],
           [0, 0, 0]])
    """
    u = np.asarray(utility, dtype=float)
    slack = INDIFFERENT * np.abs(u).max(axis=1, initial=0)
    alternatives = range(u.shape[1])
    counts = [[int((u[:, i] - u[:, j] > slack).sum()) for j in alternatives] for i in alternatives]
    return np.array(counts, dtype=np.int64).reshape(len(alternatives), len(alternatives))


def condorcet_winners(utility: ArrayLike) -> NDArray[np.bool_]:
    """Which alternatives (C,) beat every other one by majority, given `utility` (V, C) (Condorcet 1785).

    Alternatives between which all voters are indifferent count as one, so several can be marked. Often none is.

    >>> condorcet_winners([[3, 2, 1], [1, 3, 2], [1, 2, 3]])
    array([False,  True, False])
    """
    more = preferred(utility)
    beaten = more > more.T
    same = (more == 0) & (more.T == 0)
    winners: NDArray[np.bool_] = (beaten | same).all(axis=1)
    return winners


def ballot_quality(weights: ArrayLike, utility: ArrayLike) -> float:
    """How well a ballot serves its voter, from 0 for the worst ballot to 1 for the best; nan if all are equally good.

    A ballot gives each candidate a weight (C,), and its value is the weighted sum of the voter's `utility` (C,). The
    best and the worst ballot assign the same weights in the best and in the worst order. With all weight on one
    candidate the quality is (u - worst) / (best - worst).

    >>> ballot_quality([0, 1, 0], [10, 25, 30]), ballot_quality([2, 1, 0], [30, 20, 10]), ballot_quality([1, 0], [5, 5])
    (0.75, 1.0, nan)
    """
    w, u = np.asarray(weights, dtype=float), np.asarray(utility, dtype=float)
    ascending = np.sort(w)
    best, worst = float(ascending @ np.sort(u)), float(ascending @ np.sort(u)[::-1])
    if best - worst <= INDIFFERENT * float(np.abs(u).max(initial=0)) * float(w.sum()):
        return float("nan")
    return (float(w @ u) - worst) / (best - worst)


def quantile_groups(wages: ArrayLike, groups: int) -> NDArray[np.int64]:
    """The wage quantile group of each worker (N,), from 0 for the lowest wages to `groups` - 1.

    The same as `ntile(groups)` over wages in SQL: group sizes differ by at most one, the first groups are the larger
    ones, and ties are broken by position.

    >>> quantile_groups([30, 10, 20, 40, 50], 2)
    array([0, 0, 0, 1, 1])
    """
    order = np.argsort(np.asarray(wages, dtype=float), kind="stable")
    group = np.empty(len(order), dtype=np.int64)
    for i, members in enumerate(np.array_split(order, groups)):
        group[members] = i
    return group


def terciles(wages: ArrayLike) -> NDArray[np.int64]:
    """The wage tercile of each worker (N,), 0 for the lowest wages; the same as `ntile(3)` over wages in SQL.

    >>> terciles([30, 10, 20, 40])
    array([1, 0, 0, 2])
    """
    return quantile_groups(wages, 3)
