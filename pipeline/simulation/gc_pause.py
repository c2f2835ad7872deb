"""Reduce Python's cyclic garbage collection while a simulation runs.

A thousand concurrent questions create so many objects that the collector would traverse all of them, and all of DSPy's,
several times a simulated year. That takes a quarter of the processor time and frees almost nothing, because reference
counting frees nearly all objects.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

RARELY = (20_000, 20, 50)
"""Thresholds of `gc.set_threshold` for the three generations."""


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Within the block, garbage collection follows `RARELY` and skips the objects that exist at its start."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
