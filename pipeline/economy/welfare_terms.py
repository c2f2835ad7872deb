"""Each worker's share in the value of a welfare function, and the number of workers in each bracket.

`TERMS` has one entry per welfare function. Terms count with their absolute value, so that a negative utility neither
hides nor inflates a share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.economy import welfare_weights
from pipeline.economy.tax import FloatArray

TermFunction = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""f(utility, income, wage) over the last axis: one term, 0 or more, per worker (..., N)."""


@dataclass(frozen=True)
class Terms:
    """The terms of a welfare function; `of` says in words what they are shares of."""

    of: str
    terms: TermFunction

    def shares(self, u: ArrayLike, z: ArrayLike, w: ArrayLike) -> FloatArray:
        """Each worker's share (..., N), from 0 to 1; all 0 if every term is 0.

        `u` and `z` in dollars a year, `w` in dollars an hour.

        >>> TERMS["inverse_income"].shares([30_000, 30_000], [0, 0], [10, 30])
        array([0.75, 0.25])
        """
        found = self.terms(*(np.asarray(x, dtype=float) for x in (u, z, w)))
        total = found.sum(axis=-1, keepdims=True)
        shares: FloatArray = np.divide(found, total, out=np.zeros_like(found), where=total > 0)
        return shares


def _weights_of_atkinson(u: FloatArray, z: FloatArray, w: FloatArray, aversion: float = 1.0) -> FloatArray:
    """u^-aversion: the marginal value of a dollar for the worker, as the function is not a sum of dollar terms."""
    return welfare_weights.atkinson(u, z, 1 / w, aversion).g


TERMS: Mapping[str, Terms] = {
    "inverse_income": Terms("of the sum", lambda u, z, w: np.abs(u / w)),
    "paper": Terms("of the sum", lambda u, z, w: np.abs(u / np.maximum(z, 1.0))),
    "utilitarian": Terms("of the sum of utilities", lambda u, z, w: np.abs(u)),
    "atkinson": Terms("of the weight on a dollar", _weights_of_atkinson),
    "equality_productivity": Terms("of all income", lambda u, z, w: z),
}
"""Terms by the names of `WELFARE`. `rawlsian` has no entry: it is one worker's utility by definition."""


def terms_of(name: str, inequality_aversion: float = 1.0) -> Terms | None:
    """The terms of a welfare function, with `atkinson` at the given inequality aversion; None for `rawlsian`."""
    if name == "atkinson":
        return Terms(TERMS[name].of, partial(_weights_of_atkinson, aversion=inequality_aversion))
    return TERMS.get(name)


def workers_by_bracket(thresholds: ArrayLike, incomes: ArrayLike) -> NDArray[np.int64]:
    """The number of `incomes` (..., N), dollars a year, in each bracket: (..., B).

    An income on a threshold, up to rounding, is in the upper bracket, whose rate keeps it there.

    >>> workers_by_bracket([0, 90_000, 159_100], [0, 40_000, 90_000])
    array([2, 1, 0])
    """
    edges, z = np.asarray(thresholds, dtype=float), np.asarray(incomes, dtype=float)
    at_least = np.stack([(z >= edge * (1 - 1e-9)).sum(axis=-1) for edge in edges], axis=-1)
    above = np.concatenate([at_least[..., 1:], np.zeros_like(at_least[..., :1])], axis=-1)
    counts: NDArray[np.int64] = at_least - above
    return counts
