"""The best and the worst reform within a planner's reach: -20, -10, 0, 10 or 20 points per bracket.

Rates stay within [0, 100] or, where the law has negative rates, [-100, 100].

The value of a step is the welfare of the resulting schedule if every worker best-responds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.economy.equilibrium import welfare_of
from pipeline.economy.tax import FloatArray, within
from pipeline.economy.utility import Economy
from pipeline.economy.welfare import WelfareFunction
from signatures.types import RateChange, TaxSchedule

IntArray = NDArray[np.int64]
Worth = Callable[[IntArray], FloatArray]
"""Maps steps (S, B) in percentage points to the welfare (S,) after each."""

MOVES: tuple[int, ...] = tuple(sorted(get_args(RateChange), key=abs))
"""Possible changes of one rate, smallest first."""

EXHAUSTIVE = 5
"""Up to this many brackets every step is tried (3,125 steps); with more, a hill climb changes one or two rates."""

ROUNDING = 1e-12
"""Relative differences in welfare up to this are rounding."""


class ExtremeSteps(NamedTuple):
    """The best and the worst step (B,) in percentage points, and the welfare after each."""

    best: tuple[int, ...]
    worst: tuple[int, ...]
    highest: float
    lowest: float


def welfare_after(
    economy: Economy,
    schedule: TaxSchedule,
    wages: FloatArray,
    welfare_function: WelfareFunction,
    steps: IntArray,
    lowest: float = 0.0,
    windfall: float = 0.0,
) -> FloatArray:
    """Welfare (S,) under best responses after each of the `steps` (S, B) from `schedule`; hourly `wages` (N,).

    `lowest`: the lowest rate in percent that a planner may set. `windfall`: dollars a year that each worker gets from
    outside.
    """
    rates = within(np.array(schedule.rates), np.array(schedule.rates) + steps, lowest)
    return welfare_of(economy, schedule.thresholds, rates, wages, welfare_function, windfall=windfall)


def extreme_steps(
    economy: Economy,
    schedule: TaxSchedule,
    wages: FloatArray,
    welfare_function: WelfareFunction,
    lowest: float = 0.0,
    windfall: float = 0.0,
) -> ExtremeSteps:
    """The best and the worst step from `schedule`; ties go to the smallest. `lowest`, `windfall`: see `welfare_after`.

    Exact up to `EXHAUSTIVE` brackets. With more, a deterministic hill climb that starts from no change and changes one
    or two rates at a time: it may miss the best step (on the seven federal brackets it rarely does, see the tests).

    >>> from pipeline.economy.welfare import utilitarian
    >>> law = TaxSchedule(thresholds=(0, 90_000), rates=(50, 10))
    >>> extreme_steps(Economy(), law, np.array([10.0, 50.0]), utilitarian).best
    (-20, -10)
    """

    def worth(steps: IntArray) -> FloatArray:
        return welfare_after(economy, schedule, wages, welfare_function, steps, lowest, windfall)

    def negative_worth(steps: IntArray) -> FloatArray:
        return -worth(steps)

    search = _best_of_all if len(schedule.rates) <= EXHAUSTIVE else _climb
    brackets = len(schedule.rates)
    (best, highest), (worst, lowest) = search(worth, brackets), search(negative_worth, brackets)
    return ExtremeSteps(best, worst, highest, -lowest)


@cache
def all_steps(brackets: int) -> IntArray:
    """Every step (5**B, B), sorted by the sum of absolute changes; read-only."""
    steps = np.array(list(itertools.product(MOVES, repeat=brackets)), dtype=np.int64)
    ordered: IntArray = steps[np.argsort(np.abs(steps).sum(axis=1), kind="stable")]
    ordered.flags.writeable = False
    return ordered


def _best_of_all(worth: Worth, brackets: int) -> tuple[tuple[int, ...], float]:
    steps = all_steps(brackets)
    return _first_highest(steps, worth(steps))


def _first_highest(steps: IntArray, heights: FloatArray) -> tuple[tuple[int, ...], float]:
    """The first of the highest steps, and its welfare."""
    top = float(heights.max())
    first = int(np.argmax(heights >= top - ROUNDING * abs(top)))
    return tuple(steps[first].tolist()), top


def _climb(worth: Worth, brackets: int) -> tuple[tuple[int, ...], float]:
    """Hill climb: move to the best step that differs in one rate, or else in two, until none is better.

    The result is reduced to the smallest step with the same welfare.
    """
    here = np.zeros(brackets, dtype=np.int64)
    height = float(worth(here[None])[0])
    changed = 1
    while changed <= 2:
        around = _variants(here, changed)
        heights = worth(around)
        step, top = _first_highest(around, heights)
        if top > height + ROUNDING * abs(height):
            here, height, changed = np.array(step), top, 1
        else:
            changed += 1
    return _shrunk(here, height, worth), height


def _variants(step: IntArray, changed: int) -> IntArray:
    """All steps (M, B) that differ from `step` in at most `changed` brackets, smallest first."""
    variants = []
    for places in itertools.combinations(range(len(step)), changed):
        for moves in itertools.product(MOVES, repeat=changed):
            variant = step.copy()
            variant[list(places)] = moves
            variants.append(variant)
    found = np.array(variants)
    ordered: IntArray = found[np.argsort(np.abs(found).sum(axis=1), kind="stable")]
    return ordered


def _shrunk(step: IntArray, height: float, worth: Worth) -> tuple[int, ...]:
    """`step` without changes that have no effect, e.g. of a rate that no worker pays or that is at its bound."""
    for place in range(len(step)):
        smaller = [_with(step, place, move) for move in MOVES if abs(move) <= abs(step[place])]
        step = np.array(_first_highest(np.array(smaller), worth(np.array(smaller)))[0])
    return tuple(step.tolist())


def _with(step: IntArray, place: int, move: int) -> IntArray:
    changed = step.copy()
    changed[place] = move
    return changed
