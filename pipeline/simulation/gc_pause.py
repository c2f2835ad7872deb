"""Python's search for garbage while a run is played: less often, and not among what was there before.

A thousand questions under way make so many objects that all of them, and all of DSPy's, would be looked through several
times a year: a quarter of a year's processor time, for hardly any garbage that counting references does not find.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

RARELY = (20_000, 20, 50)
"""New objects after which the young are looked through; how often that before the older, and before all are."""


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Within, garbage is searched for `RARELY`, and what exists now is left alone."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
