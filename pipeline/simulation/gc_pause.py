"""Reduce Python's cyclic garbage collection while a simulation runs.

A thousand concurrent questions create so many objects that the collector would traverse all of them, and all of DSPy's,
several times a simulated year. That takes a quarter of the processor time and frees almost nothing, because reference
counting frees nearly all objects.
"""

from __future__ import annotations

import gc

from pipeline.parallel.shared_state import Shared

RARELY = (20_000, 20, 50)
"""Thresholds of `gc.set_threshold` for the three generations."""


def _begin() -> tuple[int, int, int]:
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*RARELY)
    return before


def _end(before: tuple[int, int, int]) -> None:
    gc.set_threshold(*before)
    gc.unfreeze()


_PAUSE = Shared(_begin, _end)


def rarely_collected() -> Shared[tuple[int, int, int]]:
    """Within the block, garbage is collected with the thresholds `RARELY`, and existing objects are not traversed."""
    return _PAUSE
