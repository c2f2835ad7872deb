"""ORACLE: the schedule that a planner would set who knew everybody, and why it is taken for the best.

Up to three brackets all schedules on the 10-point grid are compared. With more, climbs from many starts are; a climb
goes to the best change of one rate or two until there is none. Both end with climbs that count everybody, from the
best places found and from the best rival.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.equilibrium import WelfareFunction, welfare_of
from pipeline.economy.tax import FloatArray
from pipeline.economy.utility import Economy
from signatures.types import TaxSchedule

Welfare = Callable[[FloatArray], FloatArray]
"""Rates (S, B) to the welfare (S,) of each when everybody best-responds."""

GRID = range(0, 101, 10)
"""The rates a planner can reach from 50 percent, in percent."""

MOST_ENUMERATED = 3
"""Up to so many brackets every schedule on the grid is tried: 1,331 of them."""

SCOUTS = {"grid": 20_000, "climb": 500}
"""The most workers that look for where a climb is worth starting; the climb itself counts everybody."""

LAST_CLIMBS = 4
"""Of the places found, so many of the best are climbed from once more, counting everybody."""

ROUNDING = 1e-12
"""A relative gain that is none: the sums behind two figures were taken in another order."""


@dataclass(frozen=True)
class Certificate:
    """How the best schedule was found, and how far the others are. Welfare is in units of the welfare function.

    `starts`: schedules on the grid that were compared (`enumerated`), or climbs. `optima`: places among them that no
    change of one rate by 10 or 20 points improves (climbs: of two rates), with different welfare. `runner_up`: the
    second of the last climbs; None where they all end at the same welfare. `improvement`: the most that a change of one
    rate by 10 or 20 points adds to `welfare`, 0 or less.
    """

    enumerated: bool
    starts: int
    optima: int
    welfare: float
    runner_up: float | None
    improvement: float


class Optimum(NamedTuple):
    """A schedule, and why it is taken for the best."""

    schedule: TaxSchedule
    certificate: Certificate


class _Found(NamedTuple):
    """Places (K, B) of different welfare, best first, and among how many they were found."""

    places: FloatArray
    starts: int


def optimum(
    economy: Economy,
    thresholds: tuple[float, ...],
    wages: ArrayLike,
    welfare_function: WelfareFunction,
    candidates: Iterable[TaxSchedule] = (),
) -> Optimum:
    """The Stackelberg optimum: the schedule on `thresholds` with the highest welfare when workers best-respond.

    It is at least as good as each of the `candidates` on the same thresholds, whose rates may lie off the grid, and no
    change of one rate by ten or twenty points improves it. In a large population (`SCOUTS`) a part of the workers
    decides where the last climbs begin. Deterministic. `welfare_function` must work along the last axis.
    `wages` (N,) dollars an hour.

    >>> from pipeline.economy.welfare import utilitarian
    >>> best = optimum(Economy(), (0, 90_000), [10, 20, 80], utilitarian)
    >>> best.schedule.rates, best.certificate.starts, best.certificate.optima
    ((0.0, 0.0), 121, 1)
    """
    wage = np.asarray(wages, dtype=float)
    enumerated = len(thresholds) <= MOST_ENUMERATED
    scouts = _thinned(wage, SCOUTS["grid" if enumerated else "climb"])

    def welfare(rates: FloatArray) -> FloatArray:
        return welfare_of(economy, thresholds, rates, wage, welfare_function)

    def scouted(rates: FloatArray) -> FloatArray:
        return welfare_of(economy, thresholds, rates, scouts, welfare_function)

    found = _on_grid(scouted, len(thresholds)) if enumerated else _by_climbs(scouted, len(thresholds))
    rivals = np.array([law.rates for law in candidates if law.thresholds == thresholds])
    starts = found.places[:LAST_CLIMBS]
    if len(rivals):
        starts = np.vstack([starts, _highest(welfare, rivals)[0]])
    ends = _distinct(welfare, np.array([_climb(welfare, start, reach=1) for start in starts]).round(10))
    heights = welfare(ends[:2])
    gain = float(welfare(_neighbours(ends[0], 1)).max() - heights[0])
    certificate = Certificate(
        enumerated=enumerated,
        starts=found.starts,
        optima=len(found.places),
        welfare=float(heights[0]),
        runner_up=float(heights[1]) if len(heights) > 1 else None,
        improvement=gain if gain > ROUNDING * abs(heights[0]) else min(gain, 0.0),
    )
    return Optimum(TaxSchedule(thresholds=thresholds, rates=tuple(map(float, ends[0]))), certificate)


def _thinned(wages: FloatArray, most: int) -> FloatArray:
    """All `wages`, or `most` of them, evenly spaced from the lowest to the highest."""
    return wages if len(wages) <= most else np.quantile(wages, np.linspace(0, 1, most))


def _on_grid(welfare: Welfare, brackets: int) -> _Found:
    """The places on the grid that no change of one rate by 10 or 20 points improves."""
    every = np.array(list(itertools.product(GRID, repeat=brackets)), dtype=float)
    heights = welfare(every).reshape((len(GRID),) * brackets)
    tops = np.ones_like(heights, dtype=bool)
    for axis, steps in itertools.product(range(brackets), (1, 2)):
        lower, upper = (np.moveaxis(heights, axis, 0)[part] for part in (slice(None, -steps), slice(steps, None)))
        top = np.moveaxis(tops, axis, 0)
        top[:-steps] &= ~(upper > lower + ROUNDING * np.abs(lower))
        top[steps:] &= ~(lower > upper + ROUNDING * np.abs(upper))
    return _Found(_distinct(welfare, every[tops.ravel()]), len(every))


def _by_climbs(welfare: Welfare, brackets: int) -> _Found:
    """Local optima found by climbs from 32 starts.

    The starts are 50 percent, schedules of few steps from the best to the worst, and good ones far from all those.
    """
    scanned = _highest(welfare, np.array(sorted(set(_few_steps(brackets))), dtype=float))
    starts = [np.full(brackets, 50.0), *scanned[:: len(scanned) // 20]]
    for rates in scanned:
        if min(np.abs(rates - other).max() for other in starts) > 20:
            starts.append(rates)
        if len(starts) == 32:
            break
    return _Found(_distinct(welfare, np.array([_climb(welfare, start, reach=2) for start in starts])), len(starts))


def _climb(welfare: Welfare, start: FloatArray, *, reach: int) -> FloatArray:
    """From `start` (B,) always to the best neighbour in one rate, or else in up to `reach`, until none is better."""
    here, height = start, welfare(start[None])[0]
    moved = 1
    while moved <= reach:
        around = _neighbours(here, moved)
        heights = welfare(around)
        best = int(np.argmax(heights))
        # rounding is not progress, and could go round in circles
        if heights[best] > height + ROUNDING * abs(height):
            here, height, moved = around[best], heights[best], 1
        else:
            moved += 1
    return here


def _highest(welfare: Welfare, rates: FloatArray) -> FloatArray:
    """`rates` (S, B) from the best to the worst; equals in the order they came in."""
    return np.asarray(rates[np.argsort(-welfare(rates), kind="stable")])


def _distinct(welfare: Welfare, rates: FloatArray) -> FloatArray:
    """`rates` (S, B) from the best to the worst, one for each welfare: where nobody earns, a rate changes nothing."""
    ordered = _highest(welfare, rates)
    heights = welfare(ordered)
    new = heights[:-1] - heights[1:] > 1e-9 * np.abs(heights[:-1])
    return np.asarray(ordered[np.concatenate([[True], new])])


def _neighbours(rates: FloatArray, moved: int) -> FloatArray:
    """All schedules (M, B) that differ from `rates` (B,) by 10 or 20 points in `moved` of the rates; in [0, 100]."""
    moves = np.kron(np.eye(len(rates)), [[-20], [-10], [10], [20]])
    # several moves of one rate are one other move of it, or none: no harm, and no case to tell apart
    taken = np.array(list(itertools.combinations(range(len(moves)), moved)))
    return np.asarray(np.clip(rates + moves[taken].sum(axis=1), 0, 100))


def _few_steps(brackets: int) -> Iterator[tuple[int, ...]]:
    """Every schedule of at most three rates out of 0, 20 ... 100, each held over neighbouring brackets."""
    for first, second in itertools.combinations(range(1, brackets), 2):
        for low, middle, high in itertools.product(GRID[::2], repeat=3):
            yield (low,) * first + (middle,) * (second - first) + (high,) * (brackets - second)
