"""ORACLE: the schedule of a planner who knows everybody, and the best one on the grid of the planner's own moves.

`optimum` looks first for the best schedule that a planner can reach in its ten-point steps: up to three brackets all of
them are compared, with more, climbs from many starts are. It polishes the best of those, and the best rival, by ever
smaller moves of one and of two rates until none helps, and certifies that, and the best of the grid with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.equilibrium import welfare_of
from pipeline.economy.tax import FloatArray
from pipeline.economy.utility import Economy
from pipeline.economy.welfare import WelfareFunction
from signatures.types import TaxSchedule

Welfare = Callable[[FloatArray], FloatArray]
"""Rates (S, B) to the welfare (S,) of each when everybody best-responds."""

GRID = range(0, 101, 10)
"""The rates a planner can reach from 50 percent, in percent."""

MOST_ENUMERATED = 3
"""Up to so many brackets every schedule on the grid is tried: 1,331 of them."""

LATTICE = range(0, 101, 5)
"""Up to `MOST_ENUMERATED` brackets, every schedule on these rates is tried before the polish: 9,261 of them."""

MOST_POLISHED = 12
"""Of the local optima between the points of the grid, so many of the best are polished."""

FEW = 500
"""Up to so many workers welfare is rough: every worker who jumps shows. There more places are climbed from."""

STREWN = 16
"""With more brackets and `FEW` workers, so many places at random, always the same ones, are polished as well."""

SCOUTS = {"grid": 20_000, "lattice": 300, "climb": 500}
"""The most workers that look for where a climb is worth starting; the climb itself counts everybody."""

LAST_CLIMBS = 4
"""So many of the best places found are climbed from once more, counting everybody; with `FEW` workers, of those
between the points of the grid `MOST_POLISHED`."""

GRID_MOVES = (20.0, 10.0)
"""Points by which a planner can change a rate at once, both ways."""

POLISH = (20.0, 10.0, 5.0, 2.0, 1.0)
"""Points by which rates are moved, up and down, in one rate and in two, until none of the moves helps."""

FINER = ((0.5, 0.2, 0.1), (0.05, 0.02, 0.01))
"""Then by so many, in one rate."""

ROUNDING = 1e-12
"""A relative gain that is none: the sums behind two figures were taken in another order."""


@dataclass(frozen=True)
class Certificate:
    """How the best schedule was found, and how far the others are. Welfare is in units of the welfare function.

    `starts`: schedules on the grid that were compared (`enumerated`), or climbs. `optima`: places among them that no
    change of one rate by 10 or 20 points improves (climbs: of two rates), with different welfare. `runner_up`: the
    second of the last climbs; None where they all end at the same welfare. `improvement`: the most that a `POLISH`
    move of one rate, or of two, adds to `welfare`, 0 or less. `grid`, `grid_welfare`: the best schedule found on the
    planner's ten-point grid, and its welfare.
    """

    enumerated: bool
    starts: int
    optima: int
    welfare: float
    runner_up: float | None
    improvement: float
    grid: TaxSchedule
    grid_welfare: float


class Optimum(NamedTuple):
    """A schedule, and why it is taken for the best."""

    schedule: TaxSchedule
    certificate: Certificate


class _Found(NamedTuple):
    """Places (K, B) on the grid of different welfare, best first, and among how many they were found.

    `off_grid`: places (M, B) between them that look as good, best first.
    """

    places: FloatArray
    starts: int
    off_grid: FloatArray


def optimum(
    economy: Economy,
    thresholds: tuple[float, ...],
    wages: ArrayLike,
    welfare_function: WelfareFunction,
    candidates: Iterable[TaxSchedule] = (),
) -> Optimum:
    """The Stackelberg optimum: the schedule on `thresholds` with the highest welfare when workers best-respond.

    At least as good as each of the `candidates` on the same thresholds, and as each schedule that differs from it by a
    `POLISH` move of one rate or of two; rates are found to 0.01 points. It is a search, for welfare has many local
    optima where rates fall and workers jump: `Certificate` says how wide. In a large population (`SCOUTS`) a part of
    the workers decides where the last climbs begin. Deterministic. `welfare_function` must work along the last axis.
    `wages` (N,) dollars an hour.

    >>> from pipeline.economy.welfare import utilitarian
    >>> best = optimum(Economy(), (0, 90_000), [10, 20, 80], utilitarian)
    >>> best.schedule.rates, best.certificate.starts, best.certificate.optima
    ((0.0, 0.0), 121, 1)
    """
    wage = np.asarray(wages, dtype=float)
    welfare = _welfare_of(economy, thresholds, wage, welfare_function)
    found = _search_grid(economy, thresholds, wage, welfare_function)
    ends = _climb_all(welfare, found.places[:LAST_CLIMBS], GRID_MOVES, together=1)
    polished = _climb_all(welfare, np.vstack([ends, found.off_grid[:MOST_POLISHED]]), POLISH, together=1)
    last = MOST_POLISHED if len(wage) <= FEW else LAST_CLIMBS
    tops = _climb_all(welfare, polished[:last], POLISH, together=2)
    best = _finished(welfare, tops[0])
    rivals = np.array([law.rates for law in candidates if law.thresholds == thresholds], dtype=float)
    if len(rivals):  # they add a climb and take the place of none
        rival = _climb(welfare, _highest(welfare, rivals)[0], POLISH, together=2)
        tops = _distinct(welfare, np.vstack([tops, rival]))
        best = _highest(welfare, np.vstack([best, _finished(welfare, rival)]))[0]
    height = float(welfare(best[None])[0])
    around = [_neighbours(best, POLISH, turn) for turn in _turns(len(best), 2)]
    gain = float(welfare(np.vstack(around)).max()) - height
    heights = welfare(tops)
    certificate = Certificate(
        enumerated=len(thresholds) <= MOST_ENUMERATED,
        starts=found.starts,
        optima=len(found.places),
        welfare=height,
        runner_up=float(heights[1]) if len(heights) > 1 else None,
        improvement=gain if gain > ROUNDING * abs(height) else min(gain, 0.0),
        grid=_schedule(thresholds, ends[0]),
        grid_welfare=float(welfare(ends[:1])[0]),
    )
    return Optimum(_schedule(thresholds, best), certificate)


def _finished(welfare: Welfare, top: FloatArray) -> FloatArray:
    """Where a climb by `FINER` moves from `top` (B,) ends; they can open coarser ones again."""
    for moves in FINER:
        top = _climb(welfare, top, moves, together=1)
    return _climb(welfare, top, POLISH, together=2)


def _schedule(thresholds: tuple[float, ...], rates: FloatArray) -> TaxSchedule:
    return TaxSchedule(thresholds=thresholds, rates=tuple(map(float, rates)))


def _welfare_of(
    economy: Economy, thresholds: tuple[float, ...], wages: FloatArray, function: WelfareFunction, taxpayers: int = 0
) -> Welfare:
    def welfare(rates: FloatArray) -> FloatArray:
        return welfare_of(economy, thresholds, rates, wages, function, taxpayers or len(wages))

    return welfare


def _search_grid(
    economy: Economy, thresholds: tuple[float, ...], wages: FloatArray, function: WelfareFunction
) -> _Found:
    """Where on the grid, and between its points, a last climb is worth starting, by the scouts."""

    def scouted(kind: str) -> Welfare:
        return _welfare_of(economy, thresholds, _thinned(wages, SCOUTS[kind]), function, len(wages))

    brackets = len(thresholds)
    if brackets > MOST_ENUMERATED:
        return _by_climbs(scouted("climb"), brackets, strewn=0 if len(wages) > FEW else STREWN)
    places = _peaks(scouted("grid"), brackets, GRID)
    return _Found(places, len(GRID) ** brackets, _peaks(scouted("lattice"), brackets, LATTICE))


def _thinned(wages: FloatArray, most: int) -> FloatArray:
    """All `wages`, or `most` of them, evenly spaced from the lowest to the highest."""
    return wages if len(wages) <= most else np.quantile(wages, np.linspace(0, 1, most))


def _peaks(welfare: Welfare, brackets: int, grid: range) -> FloatArray:
    """The places on the `grid` that no change of one rate by one or two of its steps improves, best first."""
    every = _lattice(brackets, grid)
    heights = welfare(every).reshape((len(grid),) * brackets)
    tops = np.ones_like(heights, dtype=bool)
    for axis, steps in itertools.product(range(brackets), (1, 2)):
        lower, upper = (np.moveaxis(heights, axis, 0)[part] for part in (slice(None, -steps), slice(steps, None)))
        top = np.moveaxis(tops, axis, 0)
        top[:-steps] &= ~(upper > lower + ROUNDING * np.abs(lower))
        top[steps:] &= ~(lower > upper + ROUNDING * np.abs(upper))
    return _distinct(welfare, every[tops.ravel()])


@cache
def _lattice(brackets: int, grid: range) -> FloatArray:
    """Every schedule (S, B) with rates of the `grid`."""
    return np.array(list(itertools.product(grid, repeat=brackets)), dtype=float)


def _by_climbs(welfare: Welfare, brackets: int, *, strewn: int) -> _Found:
    """Local optima found by climbs from 32 starts on the grid, and from so many `strewn` between its points.

    The starts are 50 percent, schedules of few steps from the best to the worst, and good ones far from all those.
    """
    scanned = _highest(welfare, np.array(sorted(set(_few_steps(brackets))), dtype=float))
    starts = [np.full(brackets, 50.0), *scanned[:: len(scanned) // 20]]
    for rates in scanned:
        if min(np.abs(rates - other).max() for other in starts) > 20:
            starts.append(rates)
        if len(starts) == 32:
            break
    singly = _climb_all(welfare, np.array(starts), GRID_MOVES, together=1)
    ends = _climb_all(welfare, singly[:LAST_CLIMBS], GRID_MOVES, together=2)
    anywhere = np.random.default_rng(0).integers(0, 101, (strewn, brackets)).astype(float)
    between = _climb_all(welfare, np.vstack([singly[:MOST_POLISHED], anywhere]), POLISH, together=1)
    return _Found(ends, len(starts), between)


def _climb_all(welfare: Welfare, starts: FloatArray, moves: Sequence[float], *, together: int) -> FloatArray:
    """Where climbs from the `starts` (K, B) end, one for each welfare, best first."""
    return _distinct(welfare, _ends(welfare, starts, moves, together=together))


def _climb(welfare: Welfare, start: FloatArray, moves: Sequence[float], *, together: int) -> FloatArray:
    """Where the climb from `start` (B,) ends."""
    return np.asarray(_ends(welfare, start[None], moves, together=together)[0])


def _ends(welfare: Welfare, starts: FloatArray, moves: Sequence[float], *, together: int) -> FloatArray:
    """From each of the `starts` (K, B) upwards by `moves` of one rate, or else of up to `together` rates, until none
    helps.

    Of the moves that are tried at a time the best is made at once, before others are tried. The climbs do not know of
    each other; they are made side by side because `welfare` of many schedules at once takes little longer than of few.
    One that comes to where another has been, with the same moves to try first, ends where that one ends.
    """
    turns = _turns(starts.shape[1], together)
    here, heights = starts.copy(), welfare(starts)
    turn, idle = [0] * len(starts), [0] * len(starts)  # idle: turns since the last move
    owner: dict[tuple[bytes, int], int] = {}
    follows = [owner.setdefault((start.tobytes(), 0), climb) for climb, start in enumerate(here)]
    going = [climb for climb, other in enumerate(follows) if other == climb]
    while going:
        around = [_neighbours(here[climb], moves, turns[turn[climb]]) for climb in going]
        found = np.split(welfare(np.vstack(around)), np.cumsum([len(part) for part in around[:-1]]))
        for climb, places, reached in zip(going, around, found, strict=True):
            best = int(np.argmax(reached))
            # rounding is not progress, and could go round in circles
            if reached[best] > heights[climb] + ROUNDING * abs(heights[climb]):
                here[climb], heights[climb], idle[climb] = places[best], reached[best], 0
                follows[climb] = owner.setdefault((here[climb].tobytes(), turn[climb]), climb)
            else:
                turn[climb], idle[climb] = (turn[climb] + 1) % len(turns), idle[climb] + 1
        going = [climb for climb in going if follows[climb] == climb and idle[climb] < len(turns)]
    return np.array([here[_last(follows, climb)] for climb in range(len(starts))])


def _last(follows: Sequence[int], climb: int) -> int:
    """The climb at the end of those that follow one another from `climb`."""
    while follows[climb] != climb:
        climb = follows[climb]
    return climb


def _turns(brackets: int, together: int) -> list[list[tuple[int, ...]]]:
    """What is tried at a time: each rate alone, then two of them together, then three, up to `together`."""
    several = [rates for number in range(2, together + 1) for rates in itertools.combinations(range(brackets), number)]
    return [[(bracket,) for bracket in range(brackets)], *([rates] for rates in several)]


def _highest(welfare: Welfare, rates: FloatArray) -> FloatArray:
    """`rates` (S, B) from the best to the worst; equals in the order they came in."""
    return np.asarray(rates[np.argsort(-welfare(rates), kind="stable")])


def _distinct(welfare: Welfare, rates: FloatArray) -> FloatArray:
    """`rates` (S, B) from the best to the worst, one for each welfare: where nobody earns, a rate changes nothing."""
    ordered = _highest(welfare, rates)
    heights = welfare(ordered)
    new = heights[:-1] - heights[1:] > 1e-9 * np.abs(heights[:-1])
    return np.asarray(ordered[np.concatenate([[True], new])])


def _neighbours(rates: FloatArray, moves: Sequence[float], turn: Sequence[tuple[int, ...]]) -> FloatArray:
    """All schedules (M, B) that differ from `rates` (B,) by one of the `moves` up or down, in points, in each of the
    brackets of one entry of `turn`; kept in [0, 100] and at whole hundredths of a point."""
    return (rates + _changes(len(rates), tuple(moves), tuple(turn))).clip(0, 100).round(2)


@cache
def _changes(brackets: int, moves: tuple[float, ...], turn: tuple[tuple[int, ...], ...]) -> FloatArray:
    """What `_neighbours` adds to rates, (M, B) points."""
    steps = (*(-move for move in moves), *moves)
    parts = []
    for moved in turn:
        part = np.zeros((len(steps) ** len(moved), brackets))
        part[:, list(moved)] = list(itertools.product(steps, repeat=len(moved)))
        parts.append(part)
    return np.vstack(parts)


def _few_steps(brackets: int) -> Iterator[tuple[int, ...]]:
    """Every schedule of at most three rates out of 0, 20 ... 100, each held over neighbouring brackets."""
    for first, second in itertools.combinations(range(1, brackets), 2):
        for low, middle, high in itertools.product(GRID[::2], repeat=3):
            yield (low,) * first + (middle,) * (second - first) + (high,) * (brackets - second)
