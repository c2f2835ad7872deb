"""What a planner can reach in one step: each bracket's rate moved by -20, -10, 0, 10 or 20 points, kept in [0, 100].

The worth of a step is the welfare of the schedule that it leads to, when every worker best-responds to that.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.economy.equilibrium import welfare_of
from pipeline.economy.tax import FloatArray
from pipeline.economy.utility import Economy
from pipeline.economy.welfare import WelfareFunction
from signatures.types import RateChange, TaxSchedule

IntArray = NDArray[np.int64]
Worth = Callable[[IntArray], FloatArray]
"""Steps (S, B) in percentage points to the welfare (S,) that each leads to."""

MOVES: tuple[int, ...] = tuple(sorted(get_args(RateChange), key=abs))
"""What one rate can do at once, the smallest first."""

EXHAUSTIVE = 5
"""Up to so many brackets every step is tried (3,125 of them); above, a search climbs over one and two rates."""

ROUNDING = 1e-12
"""Share of a welfare figure that is rounding and no difference."""


class Reach(NamedTuple):
    """The best and the worst step (B,) in percentage points, and the welfare that each leads to."""

    best: tuple[int, ...]
    worst: tuple[int, ...]
    highest: float
    lowest: float


def worth_of(
    economy: Economy, schedule: TaxSchedule, wages: FloatArray, welfare_function: WelfareFunction, steps: IntArray
) -> FloatArray:
    """Welfare (S,) under best responses after each of the `steps` (S, B) from `schedule`, for hourly `wages` (N,)."""
    rates = np.clip(np.array(schedule.rates) + steps, 0, 100)
    return welfare_of(economy, schedule.thresholds, rates.astype(float), wages, welfare_function)


def reach(economy: Economy, schedule: TaxSchedule, wages: FloatArray, welfare_function: WelfareFunction) -> Reach:
    """The best and the worst of all steps from `schedule`; of equal ones the smallest.

    Exact up to `EXHAUSTIVE` brackets. Above, a climb over steps of one and two rates from no step at all: it need not
    find the best (on the seven federal brackets it does nearly always, see the tests), and is the same every time.

    >>> from pipeline.economy.welfare import utilitarian
    >>> reach(Economy(), TaxSchedule(thresholds=(0, 90_000), rates=(50, 10)), np.array([10.0, 50.0]), utilitarian).best
    (-20, -10)
    """

    def worth(steps: IntArray) -> FloatArray:
        return worth_of(economy, schedule, wages, welfare_function, steps)

    def blame(steps: IntArray) -> FloatArray:
        return -worth(steps)

    search = _best_of_all if len(schedule.rates) <= EXHAUSTIVE else _climb
    (best, highest), (worst, lowest) = search(worth, len(schedule.rates)), search(blame, len(schedule.rates))
    return Reach(best, worst, highest, -lowest)


@cache
def all_steps(brackets: int) -> IntArray:
    """Every step (5**B, B), by the number of points moved in all; not to be written to."""
    steps = np.array(list(itertools.product(MOVES, repeat=brackets)), dtype=np.int64)
    ordered: IntArray = steps[np.argsort(np.abs(steps).sum(axis=1), kind="stable")]
    ordered.flags.writeable = False
    return ordered


def _best_of_all(worth: Worth, brackets: int) -> tuple[tuple[int, ...], float]:
    steps = all_steps(brackets)
    return _first_highest(steps, worth(steps))


def _first_highest(steps: IntArray, heights: FloatArray) -> tuple[tuple[int, ...], float]:
    """The first of the highest, and its height."""
    top = float(heights.max())
    first = int(np.argmax(heights >= top - ROUNDING * abs(top)))
    return tuple(steps[first].tolist()), top


def _climb(worth: Worth, brackets: int) -> tuple[tuple[int, ...], float]:
    """Always to the best step that differs in one rate, or else in two, until none is better; as small as can be."""
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
    """All steps (M, B) that differ from `step` in at most `changed` of its moves, the smallest first."""
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
    """`step` without moves that bring nothing, as of a rate that nobody pays or that is at its bound."""
    for place in range(len(step)):
        smaller = [_with(step, place, move) for move in MOVES if abs(move) <= abs(step[place])]
        step = np.array(_first_highest(np.array(smaller), worth(np.array(smaller)))[0])
    return tuple(step.tolist())


def _with(step: IntArray, place: int, move: int) -> IntArray:
    changed = step.copy()
    changed[place] = move
    return changed
