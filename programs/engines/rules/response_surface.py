"""Estimate the welfare of all tax schedules from the few that a planner has tried (a response surface).

Bayesian linear regression of welfare on each rate, its square and the products of two rates (the response surface of
Box and Wilson 1951). The prior states what any planner knows before its first year: along every rate, welfare first
rises and then falls; a rate's weight is proportional to the income that it taxes; and a point matters more near 100
percent than near 0.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SCALE = 64.0
"""How far welfare may fall over all rates, in standard deviations of the welfare on record. The value is large because
a record keeps the best schedules: they differ little because they are the best, not because rates do not matter."""

NOISE = 0.4
"""Standard deviation of one settled year around its schedule's welfare, in standard deviations of the record."""

BEND, SLOPE, BEND_DEVIATION, PRODUCT = 1.0, 0.5, 0.4, 0.3
"""The prior in units of the scale: mean and standard deviation of the curvature along a rate, standard deviations of
slopes and of products."""

RIPPLE, REACH = 0.03, 0.2
"""Standard deviation, in units of the scale, of the remainder that squares and products do not describe, and its
correlation length: 0.2 in the square root of the share kept is about 25 points around 50 percent."""


class Surface(NamedTuple):
    """A Gaussian process over schedules, with the data of its fit: rates (n, B) and weights of rates (B,)."""

    rates: Floats
    weight: Floats
    solved: Floats
    inverse: Floats

    def at(self, rates: Floats) -> tuple[Floats, Floats]:
        """Expected welfare of `rates` (S, B), in standard units, and its standard deviation."""
        mean, deviation = prior(rates.shape[1])
        x = features(rates, self.weight)
        shared = covariance(rates, self.rates, self.weight)
        own = ((x * deviation) ** 2).sum(axis=1) + (SCALE * RIPPLE) ** 2
        explained = ((shared @ self.inverse) * shared).sum(axis=1)
        return x @ mean + shared @ self.solved, np.sqrt(np.maximum(own - explained, 0))


def kept(rates: Floats) -> Floats:
    """The square root of the share kept after tax, minus its value at 50 percent, the center of the prior."""
    return np.asarray(np.sqrt(1 - rates / 100) - np.sqrt(0.5))


@cache
def pairs(brackets: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The two brackets of each pair, both (B(B-1)/2,)."""
    first, second = np.triu_indices(brackets, 1)
    return first, second


@cache
def prior(brackets: int) -> tuple[Floats, Floats]:
    """Means and standard deviations (F,) of the coefficients of `features`."""
    parts = (1, brackets, brackets, len(pairs(brackets)[0]))
    mean, deviation = (0.0, 0.0, -BEND, 0.0), (1.0, SLOPE, BEND_DEVIATION, PRODUCT)
    return SCALE * np.repeat(mean, parts), SCALE * np.repeat(deviation, parts)


def features(rates: Floats, weight: Floats) -> Floats:
    """One, each rate, its square, and the products of two: (S, F) of `rates` (S, B), F = 1 + 2B + B(B-1)/2."""
    first, second = pairs(rates.shape[1])
    v, even = kept(rates), np.sqrt(weight)
    products = (v * even)[:, first] * (v * even)[:, second]
    return np.concatenate([np.ones((len(rates), 1)), v * weight, (v * even) ** 2, products], axis=1)


def covariance(a: Floats, b: Floats, weight: Floats) -> Floats:
    """Prior covariance (S, n) of the welfare of schedules (S, B) and (n, B)."""
    _, deviation = prior(a.shape[1])
    smooth = (features(a, weight) * deviation**2) @ features(b, weight).T
    x, y = kept(a), kept(b)
    apart = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * x @ y.T
    return np.asarray(smooth + (SCALE * RIPPLE) ** 2 * np.exp(-np.maximum(apart, 0) / (2 * REACH**2)))


def fit(rates: Floats, welfare: Floats, visits: Floats, weight: Floats) -> Surface:
    """The surface fitted to the `welfare` (n,) of schedules `rates` (n, B) that were settled `visits` (n,) times.

    Rasmussen and Williams 2006, algorithm 2.1.
    """
    y = (welfare - welfare.max()) / (float(welfare.std()) or 1.0)
    mean, _ = prior(rates.shape[1])
    inverse = np.asarray(np.linalg.inv(covariance(rates, rates, weight) + np.diag(NOISE**2 / visits)), dtype=float)
    return Surface(rates, weight, inverse @ (y - features(rates, weight) @ mean), inverse)
