"""The planner share: how much of the possible gain in welfare a planner reached, and when that says something."""

from __future__ import annotations

LEAST_GAIN = 0.005
"""ORACLE's gain over the start, as a share of the start, below which the planner share divides by next to nothing.
The view `yardsticks` follows the same rule."""


def has_enough_to_gain(start: float, best: float) -> bool:
    """Whether `best` lies far enough above `start` for a share of the gain to say something.

    >>> has_enough_to_gain(100, 100.4), has_enough_to_gain(100, 101)
    (False, True)
    """
    return best - start >= LEAST_GAIN * abs(start) and best > start


def planner_share(start: float, achieved: float, best: float) -> float | None:
    """Share of the possible gain in welfare, from `start` to `best`, that was `achieved`; None for too little to gain.

    A share of the gain and never a ratio of levels, which have no natural zero. It is negative where welfare fell.

    >>> planner_share(10, 25, 30)
    0.75
    >>> planner_share(100, 100.2, 100.4) is None
    True
    """
    return (achieved - start) / (best - start) if has_enough_to_gain(start, best) else None
