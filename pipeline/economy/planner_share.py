"""The planner share: the part of the possible gain in welfare that a planner reached."""

from __future__ import annotations

LEAST_GAIN = 0.005
"""If ORACLE's gain, as a share of welfare at the start, is smaller than this, the planner share is not defined. The
view `yardsticks` follows the same rule."""


def has_enough_to_gain(start: float, best: float) -> bool:
    """Whether the gain from `start` to `best` is large enough to divide by.

    >>> has_enough_to_gain(100, 100.4), has_enough_to_gain(100, 101)
    (False, True)
    """
    return best - start >= LEAST_GAIN * abs(start) and best > start


def planner_share(start: float, achieved: float, best: float) -> float | None:
    """The achieved share of the possible gain in welfare from `start` to `best`; None if there is too little to gain.

    It is a share of the gain, not a ratio of levels, because welfare has no natural zero. It is negative if welfare
    fell.

    >>> planner_share(10, 25, 30)
    0.75
    >>> planner_share(100, 100.2, 100.4) is None
    True
    """
    return (achieved - start) / (best - start) if has_enough_to_gain(start, best) else None
