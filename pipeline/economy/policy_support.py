"""Whom a policy serves: what each worker has under each of several schedules, and what a majority prefers.

A utility matrix is (V, C): voters by alternatives. Utilities that differ by less than `INDIFFERENT` of their size are
the same to a voter: that is the noise of summing taxes, not an interest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.economy.equilibrium import CHUNK
from pipeline.economy.tax import FloatArray
from pipeline.economy.utility import Economy, respond

INDIFFERENT = 1e-9


def prospects(economy: Economy, thresholds: ArrayLike, rates: ArrayLike, wages: ArrayLike) -> FloatArray:
    """Utility (N, S), dollars a year, of workers with hourly `wages` (N,) under each of the `rates` (S, B), in percent.

    Everybody best-responds, and gets the mean tax back.

    >>> prospects(Economy(), (0,), [[0], [50]], [10, 40]).round()
    array([[11821., 33585.],
           [82327., 58722.]])
    """
    laws, w = np.asarray(rates, dtype=float), np.asarray(wages, dtype=float)
    rows = max(1, CHUNK // len(w))
    found = np.empty((len(w), len(laws)))
    for first in range(0, len(laws), rows):
        reply = respond(economy, thresholds, laws[first : first + rows], w, len(w))
        found[:, first : first + rows] = (reply.surplus + reply.tax.mean(axis=1, keepdims=True)).T
    return found


def preferred(utility: ArrayLike) -> NDArray[np.int64]:
    """How many voters prefer alternative i to j, (C, C), by their `utility` (V, C).

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
    """Which alternatives (C,) win against every other in pairs, by the voters' `utility` (V, C) (Condorcet 1785).

    Alternatives between which every voter is indifferent count as one: then all of them are marked. Often nobody is.

    >>> condorcet_winners([[3, 2, 1], [1, 3, 2], [1, 2, 3]])
    array([False,  True, False])
    """
    more = preferred(utility)
    beaten = more > more.T
    same = (more == 0) & (more.T == 0)
    winners: NDArray[np.bool_] = (beaten | same).all(axis=1)
    return winners


def ballot_quality(weights: ArrayLike, utility: ArrayLike) -> float:
    """How well a ballot serves its voter: 1 for the best one of its form, 0 for the worst; nan if all are as good.

    A ballot gives each candidate a weight (C,); its worth is the voter's `utility` (C,) so weighted. The best and the
    worst ballot of the same form give the same weights in the best and in the worst order. With all the weight on one
    candidate that is (u - worst) / (best - worst).

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
    """The group, from 0 for the lowest wages, of each of the workers (N,): `groups` groups as equal in size as can be.

    As SQL's `ntile(groups)` over wages: workers with equal wages are told apart by their place, and the first groups
    are the larger ones.

    >>> quantile_groups([30, 10, 20, 40, 50], 2)
    array([0, 0, 0, 1, 1])
    """
    order = np.argsort(np.asarray(wages, dtype=float), kind="stable")
    group = np.empty(len(order), dtype=np.int64)
    for i, members in enumerate(np.array_split(order, groups)):
        group[members] = i
    return group


def terciles(wages: ArrayLike) -> NDArray[np.int64]:
    """0 for the poorest third of the workers (N,), 1 for the middle, 2 for the rich; as SQL's `ntile(3)` over wages.

    >>> terciles([30, 10, 20, 40])
    array([1, 0, 0, 2])
    """
    return quantile_groups(wages, 3)
