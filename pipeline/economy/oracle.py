"""ORACLE: the welfare-maximizing tax schedule when workers best-respond, and the best one on a ten-point grid.

`optimum` first searches the schedules that a planner can reach in ten-point steps: with up to three brackets it
compares all of them, with more it climbs from many starts. It then improves the best of them, and the best rival, by
ever smaller moves of one and of two rates until none helps. A certificate documents the search.
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
from pipeline.economy.tax import FloatArray, lowest_rate
from pipeline.economy.utility import Economy, evenly_spaced
from pipeline.economy.welfare import WelfareFunction
from signatures.types import LEAST_RATE, TaxSchedule

Welfare = Callable[[FloatArray], FloatArray]
"""Maps rates (S, B) to welfare (S,) under best responses."""

GRID = range(0, 101, 10)
"""The rates that a planner can reach from 50 percent, in percent."""

MOST_ENUMERATED = 3
"""Up to this many brackets every schedule on the grid is tried: 1,331 schedules."""

LATTICE = range(0, 101, 5)
"""Up to `MOST_ENUMERATED` brackets, every schedule with these rates is tried before the polish: 9,261 schedules."""

MOST_POLISHED = 12
"""The number of the best local optima off the grid that are polished."""

FEW = 500
"""With at most this many workers, every jump of a worker makes welfare rough, so the search uses more starts, except
with income effects, with which it would take ten times longer for hardly more welfare."""

RANDOM_STARTS = 16
"""The number of random starts, drawn with a fixed seed, for more brackets and at most `FEW` workers."""

SAMPLES = {"grid": 20_000, "lattice": 300, "climb": 500, "last": 20_000}
"""The most workers in the samples that find starts for the last climbs, and in the last climbs. With more workers than
in the last climbs, one more climb, with all workers, starts at their end."""

SLOW_SAMPLES = {"grid": 300, "lattice": 100, "climb": 100, "last": 500}
"""`SAMPLES` with income effects."""

LAST_CLIMBS = 4
"""The number of the best schedules from which the last climbs start; with at most `FEW` workers, `MOST_POLISHED` of
those off the grid."""

GRID_MOVES = (20.0, 10.0)
"""Points by which a planner can raise or lower a rate at once."""

POLISH = (20.0, 10.0, 5.0, 2.0, 1.0)
"""Points by which one rate or two rates are moved, up and down, until no move helps."""

FINER = ((0.5, 0.2, 0.1), (0.05, 0.02, 0.01))
"""Smaller moves, in points, that follow, of one rate."""

ROUNDING = 1e-12
"""Smaller relative gains are rounding."""


@dataclass(frozen=True)
class Certificate:
    """How the best schedule was found. Welfare is in units of the welfare function.

    `starts`: the number of grid schedules compared (if `enumerated`), or of climbs. `optima`: the number of local
    optima on the grid, with different welfare, that no change of one rate (climbs: of two) by 10 or 20 points improves.
    `runner_up`: welfare at the second best end of the last climbs; None if all ends have the same welfare.
    `improvement`: the most that a `POLISH` move of one or two rates adds to `welfare`, 0 or less. `grid`,
    `grid_welfare`: the best schedule found on the planner's ten-point grid, and its welfare.
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
    """The best schedule found, and the certificate of the search."""

    schedule: TaxSchedule
    certificate: Certificate


class _Found(NamedTuple):
    """Local optima (K, B) on the grid with different welfare, best first, and the number of starts.

    `off_grid`: good schedules (M, B) off the grid, best first.
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
    windfall: float = 0.0,
) -> Optimum:
    """The Stackelberg optimum: the schedule on `thresholds` with the highest welfare if workers best-respond.

    Rates are from 0 to 100 percent, or from -100 if a candidate on the same thresholds has a negative rate or if
    work has a fixed cost, with which it can be best to pay for work (Saez 2002).
    The result is at least as good as each of the `candidates` on the same thresholds, and as each schedule that differs
    from it by a `POLISH` move of one or two rates; rates are resolved to 0.01 points. Welfare has many local optima,
    because workers jump between brackets where rates fall, so this is a search; `Certificate` documents its extent. In
    a large population samples of workers (`SAMPLES`) determine where the last climb, with all workers, starts.
    Deterministic.
    `welfare_function` must work along the last axis. `wages` (N,): dollars an hour. `windfall`: dollars a year that
    each worker gets from outside.

    >>> from pipeline.economy.welfare import utilitarian
    >>> best = optimum(Economy(), (0, 90_000), [10, 20, 80], utilitarian)
    >>> best.schedule.rates, best.certificate.starts, best.certificate.optima
    ((0.0, 0.0), 121, 1)
    """
    wage = np.asarray(wages, dtype=float)
    welfare = _welfare_of(economy, thresholds, wage, welfare_function, len(wage), windfall)
    rivals = np.array([law.rates for law in candidates if law.thresholds == thresholds], dtype=float)
    pays_for_work = economy.participation_costs is not None
    lowest = LEAST_RATE if pays_for_work else lowest_rate(rivals.ravel().tolist())

    def sampled_for(kind: str) -> Welfare:
        some, theirs = _thinned(economy, wage, _most(economy, kind))
        one = _welfare_of(some, thresholds, theirs, welfare_function, len(wage), windfall)
        return _remembered(one) if economy.gamma else one

    thorough = len(wage) <= FEW and not economy.gamma
    found = _search_grid(sampled_for, len(thresholds), random_starts=RANDOM_STARTS if thorough else 0)
    sampled = sampled_for("last")
    last = MOST_POLISHED if thorough else LAST_CLIMBS
    ends, tops, best = _last_climbs(sampled, found, rivals, last, lowest)
    if _most(economy, "last") < len(wage):
        welfare = _remembered(welfare)
        ends = _climb_all(welfare, ends[:1], GRID_MOVES, together=1)
        best = _finished(welfare, _highest(welfare, np.vstack([best, rivals.reshape(-1, len(best))]))[0], lowest)
    height = float(welfare(best[None])[0])
    around = [_neighbours(best, POLISH, turn, lowest) for turn in _turns(len(best), 2)]
    gain = float(welfare(np.vstack(around)).max()) - height
    heights = np.sort(welfare(tops))[::-1]
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


def _last_climbs(
    welfare: Welfare, found: _Found, rivals: FloatArray, last: int, lowest: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The ends of the last climbs: on the grid (K, B) and off it (M, B), each best first, and the best of all (B,).

    The climbs start from the schedules `found`, and one more from the best of the `rivals` (R, B), if there are any.
    """
    ends = _climb_all(welfare, found.places[:LAST_CLIMBS], GRID_MOVES, together=1)
    polished = _climb_all(welfare, np.vstack([ends, found.off_grid[:MOST_POLISHED]]), POLISH, together=1, lowest=lowest)
    tops = _climb_all(welfare, polished[:last], POLISH, together=2, lowest=lowest)
    best = _finished(welfare, tops[0], lowest)
    if len(rivals):
        rival = _climb(welfare, _highest(welfare, rivals)[0], POLISH, together=2, lowest=lowest)
        tops = _distinct(welfare, np.vstack([tops, rival]))
        best = _highest(welfare, np.vstack([best, _finished(welfare, rival, lowest)]))[0]
    return ends, tops, best


def _finished(welfare: Welfare, top: FloatArray, lowest: float) -> FloatArray:
    """The end of a climb from `top` (B,) by `FINER` moves, after which coarser moves may help again."""
    for moves in FINER:
        top = _climb(welfare, top, moves, together=1, lowest=lowest)
    return _climb(welfare, top, POLISH, together=2, lowest=lowest)


def _schedule(thresholds: tuple[float, ...], rates: FloatArray) -> TaxSchedule:
    return TaxSchedule(thresholds=thresholds, rates=tuple(map(float, rates)))


def _welfare_of(
    economy: Economy,
    thresholds: tuple[float, ...],
    wages: FloatArray,
    function: WelfareFunction,
    taxpayers: int,
    windfall: float,
) -> Welfare:
    def welfare(rates: FloatArray) -> FloatArray:
        return welfare_of(economy, thresholds, rates, wages, function, taxpayers, windfall)

    return welfare


def _remembered(welfare: Welfare) -> Welfare:
    """`welfare` that judges each schedule once: with many workers that takes far longer than to look it up."""
    known: dict[tuple[float, ...], float] = {}

    def look_up(rates: FloatArray) -> FloatArray:
        rows = [tuple(row) for row in rates.tolist()]
        new = list(dict.fromkeys(row for row in rows if row not in known))
        if new:
            known.update(zip(new, welfare(np.array(new)).tolist(), strict=True))
        return np.array([known[row] for row in rows])

    return look_up


def _search_grid(sampled: Callable[[str], Welfare], brackets: int, *, random_starts: int) -> _Found:
    """Promising starts of the last climbs, on and off the grid, found with samples of workers."""
    if brackets > MOST_ENUMERATED:
        return _by_climbs(sampled("climb"), brackets, random_starts=random_starts)
    places = _peaks(sampled("grid"), brackets, GRID)
    return _Found(places, len(GRID) ** brackets, _peaks(sampled("lattice"), brackets, LATTICE))


def _most(economy: Economy, kind: str) -> int:
    """The most workers in a sample: fewer with income effects, with which a schedule takes far longer."""
    return (SLOW_SAMPLES if economy.gamma else SAMPLES)[kind]


def _thinned(economy: Economy, wages: FloatArray, most: int) -> tuple[Economy, FloatArray]:
    """All `wages`, or `most` evenly spaced quantiles of them; with own costs, workers evenly spaced in that order."""
    if len(wages) <= most:
        return economy, wages
    if economy.alike:
        return economy, np.quantile(wages, np.linspace(0, 1, most))
    some = evenly_spaced(wages, most)
    return economy.of(some), wages[some]


def _peaks(welfare: Welfare, brackets: int, grid: range) -> FloatArray:
    """The schedules on the `grid` that no change of one rate by one or two steps improves, best first."""
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
    """Every schedule (S, B) with rates from `grid`."""
    return np.array(list(itertools.product(grid, repeat=brackets)), dtype=float)


def _by_climbs(welfare: Welfare, brackets: int, *, random_starts: int) -> _Found:
    """Local optima found by climbs from 32 starts on the grid, and from `random_starts` off the grid.

    The starts on the grid are 50 percent everywhere, step schedules over the whole range of welfare, and good step
    schedules that are far from those.
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
    anywhere = np.random.default_rng(0).integers(0, 101, (random_starts, brackets)).astype(float)
    between = _climb_all(welfare, np.vstack([singly[:MOST_POLISHED], anywhere]), POLISH, together=1)
    return _Found(ends, len(starts), between)


def _climb_all(
    welfare: Welfare, starts: FloatArray, moves: Sequence[float], *, together: int, lowest: float = 0.0
) -> FloatArray:
    """The ends of climbs from the `starts` (K, B), without duplicates in welfare, best first."""
    return _distinct(welfare, _ends(welfare, starts, moves, together=together, lowest=lowest))


def _climb(
    welfare: Welfare, start: FloatArray, moves: Sequence[float], *, together: int, lowest: float = 0.0
) -> FloatArray:
    """The end of the climb from `start` (B,)."""
    return np.asarray(_ends(welfare, start[None], moves, together=together, lowest=lowest)[0])


def _ends(
    welfare: Welfare, starts: FloatArray, moves: Sequence[float], *, together: int, lowest: float = 0.0
) -> FloatArray:
    """The ends (K, B) of climbs from the `starts` (K, B), by `moves` of up to `together` rates at once.

    Each turn tries a group of moves and makes the best of them if it helps; a climb ends when no group helps. The
    climbs are independent. They run in one batch because `welfare` of many schedules takes little longer than of few. A
    climb that reaches a state in which another climb has been ends where that one ends.
    """
    turns = _turns(starts.shape[1], together)
    here, heights = starts.copy(), welfare(starts)
    turn, idle = [0] * len(starts), [0] * len(starts)  # idle: turns since the last move
    owner: dict[tuple[bytes, int], int] = {}
    follows = [owner.setdefault((start.tobytes(), 0), climb) for climb, start in enumerate(here)]
    going = [climb for climb, other in enumerate(follows) if other == climb]
    while going:
        around = [_neighbours(here[climb], moves, turns[turn[climb]], lowest) for climb in going]
        found = np.split(welfare(np.vstack(around)), np.cumsum([len(part) for part in around[:-1]]))
        for climb, places, reached in zip(going, around, found, strict=True):
            best = int(np.argmax(reached))
            # a gain within rounding is not progress and could lead to a cycle
            if reached[best] > heights[climb] + ROUNDING * abs(heights[climb]):
                here[climb], heights[climb], idle[climb] = places[best], reached[best], 0
                follows[climb] = owner.setdefault((here[climb].tobytes(), turn[climb]), climb)
            else:
                turn[climb], idle[climb] = (turn[climb] + 1) % len(turns), idle[climb] + 1
        going = [climb for climb in going if follows[climb] == climb and idle[climb] < len(turns)]
    return np.array([here[_last(follows, climb)] for climb in range(len(starts))])


def _last(follows: Sequence[int], climb: int) -> int:
    """The climb whose end is the end of `climb`."""
    while follows[climb] != climb:
        climb = follows[climb]
    return climb


def _turns(brackets: int, together: int) -> list[list[tuple[int, ...]]]:
    """Groups of rates to move: each rate alone, then pairs, and so on up to `together` rates at once."""
    several = [rates for number in range(2, together + 1) for rates in itertools.combinations(range(brackets), number)]
    return [[(bracket,) for bracket in range(brackets)], *([rates] for rates in several)]


def _highest(welfare: Welfare, rates: FloatArray) -> FloatArray:
    """`rates` (S, B) sorted from the best to the worst; ties keep their order."""
    return np.asarray(rates[np.argsort(-welfare(rates), kind="stable")])


def _distinct(welfare: Welfare, rates: FloatArray) -> FloatArray:
    """`rates` (S, B) sorted from the best to the worst, one per value of welfare: unused brackets make duplicates."""
    ordered = _highest(welfare, rates)
    heights = welfare(ordered)
    new = heights[:-1] - heights[1:] > 1e-9 * np.abs(heights[:-1])
    return np.asarray(ordered[np.concatenate([[True], new])])


def _neighbours(
    rates: FloatArray, moves: Sequence[float], turn: Sequence[tuple[int, ...]], lowest: float = 0.0
) -> FloatArray:
    """All schedules (M, B) that differ from `rates` (B,) by one of the `moves`, in points, up or down, in each of the
    brackets of one entry of `turn`; clipped to [`lowest`, 100] and rounded to 0.01 points."""
    return (rates + _changes(len(rates), tuple(moves), tuple(turn))).clip(lowest, 100).round(2)


@cache
def _changes(brackets: int, moves: tuple[float, ...], turn: tuple[tuple[int, ...], ...]) -> FloatArray:
    """The changes (M, B), in points, that `_neighbours` adds."""
    steps = (*(-move for move in moves), *moves)
    parts = []
    for moved in turn:
        part = np.zeros((len(steps) ** len(moved), brackets))
        part[:, list(moved)] = list(itertools.product(steps, repeat=len(moved)))
        parts.append(part)
    return np.vstack(parts)


def _few_steps(brackets: int) -> Iterator[tuple[int, ...]]:
    """Every schedule with at most three different rates out of 0, 20 ... 100, each over adjacent brackets."""
    for first, second in itertools.combinations(range(1, brackets), 2):
        for low, middle, high in itertools.product(GRID[::2], repeat=3):
            yield (low,) * first + (middle,) * (second - first) + (high,) * (brackets - second)
