"""A response surface: what a planner may expect of tax schedules, from the few that it has tried.

Bayesian linear regression of welfare on each rate, its square and the products of two rates (the response surface of
Box and Wilson 1951), with a prior that says what any planner knows before its first year: along every rate welfare
rises and falls, a rate matters as much as the dollars that it is charged on, and near 100 percent a point matters
more than near 0.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SCALES = np.array([16.0, 32.0, 64.0, 128.0])
"""How deep welfare may fall over all rates, in standard deviations of the welfare on record. Never less than 16: a
record keeps the best schedules, which differ little because they are the best, not because rates do not matter."""

NOISES = np.array([0.05, 0.15, 0.4, 1.0])
"""Deviations of one settled year around what its schedule is worth, in standard deviations of the record."""

BEND, SLOPE, BEND_DEVIATION, PRODUCT = 1.0, 0.5, 0.4, 0.3
"""The prior in units of the scale: mean fall and its deviation along a rate, deviation of slopes and of products."""

RIPPLES = np.array([0.0, 0.03])
"""Deviations, in units of the scale, of what squares and products do not describe: it varies over `REACH`."""

REACH = 0.2
"""How far a ripple goes: 0.2 in the root of the share kept is about 25 points around 50 percent."""


class Surface(NamedTuple):
    """A Gaussian process over schedules: what it was fitted to, and the hyperparameters with the highest evidence."""

    rates: Floats
    weight: Floats
    scale: float
    ripple: float
    solved: Floats
    inverse: Floats

    def at(self, rates: Floats) -> tuple[Floats, Floats]:
        """Expected welfare of `rates` (S, B), in standard units, and its standard deviation."""
        mean, deviation = prior(rates.shape[1])
        x, seen = features(rates, self.weight), features(self.rates, self.weight)
        shared = self.scale**2 * ((x * deviation**2) @ seen.T + self.ripple**2 * nearness(rates, self.rates))
        own = self.scale**2 * ((x * deviation) ** 2).sum(axis=1) + (self.scale * self.ripple) ** 2
        explained = ((shared @ self.inverse) * shared).sum(axis=1)
        return self.scale * x @ mean + shared @ self.solved, np.sqrt(np.maximum(own - explained, 0))


def kept(rates: Floats) -> Floats:
    """The square root of the share that is kept, less that at 50 percent: where the prior has its centre."""
    return np.asarray(np.sqrt(1 - rates / 100) - np.sqrt(0.5))


@cache
def pairs(brackets: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The two brackets of each pair, both (B(B-1)/2,)."""
    first, second = np.triu_indices(brackets, 1)
    return first, second


@cache
def prior(brackets: int) -> tuple[Floats, Floats]:
    """Means and standard deviations (F,) of the coefficients of `features`, in units of the scale."""
    parts = (1, brackets, brackets, len(pairs(brackets)[0]))
    return np.repeat([0.0, 0.0, -BEND, 0.0], parts), np.repeat([1.0, SLOPE, BEND_DEVIATION, PRODUCT], parts)


def features(rates: Floats, weight: Floats) -> Floats:
    """One, each rate, its square, and the products of two: (S, F) of `rates` (S, B), F = 1 + 2B + B(B-1)/2."""
    first, second = pairs(rates.shape[1])
    v, even = kept(rates), np.sqrt(weight)
    products = (v * even)[:, first] * (v * even)[:, second]
    return np.concatenate([np.ones((len(rates), 1)), v * weight, (v * even) ** 2, products], axis=1)


def nearness(a: Floats, b: Floats) -> Floats:
    """Squared-exponential correlation (S, n) of the ripples at schedules (S, B) and (n, B)."""
    x, y = kept(a), kept(b)
    apart = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * x @ y.T
    return np.asarray(np.exp(-np.maximum(apart, 0) / (2 * REACH**2)))


def fit(rates: Floats, welfare: Floats, visits: Floats, weight: Floats) -> Surface:
    """The surface through the `welfare` (n,) of schedules `rates` (n, B) that were settled `visits` (n,) times.

    Scale, noise and ripple are those with the highest marginal likelihood (Rasmussen and Williams 2006, section 5.4.1).
    """
    y = (welfare - welfare.max()) / (float(welfare.std()) or 1.0)
    mean, deviation = prior(rates.shape[1])
    x = features(rates, weight)
    smooth = (x * deviation**2) @ x.T
    grid = np.meshgrid(SCALES, NOISES, RIPPLES, indexing="ij")
    scale, noise, ripple = (values.ravel()[:, None, None] for values in grid)
    before = scale**2 * (smooth + ripple**2 * nearness(rates, rates)) + noise**2 * np.diag(1 / visits)
    surprise = y - scale[:, 0] * (x @ mean)
    solved = np.linalg.solve(before, surprise[:, :, None])[:, :, 0]
    evidence = -0.5 * (surprise * solved).sum(axis=1) - 0.5 * np.linalg.slogdet(before)[1]
    best = int(np.argmax(evidence))
    chosen = float(scale[best, 0, 0]), float(ripple[best, 0, 0])
    return Surface(rates, weight, *chosen, solved[best], np.linalg.inv(before[best]))
