"""Python's search for garbage while a run is played: less often, and not among what was there before.

A thousand questions under way make so many objects that all of them, and all of DSPy's, would be looked through several
times a year: a quarter of a year's processor time, for hardly any garbage that counting references does not find.
"""

from __future__ import annotations

import gc

from pipeline.parallel.shared_state import Shared

RARELY = (20_000, 20, 50)
"""New objects after which the young are looked through; how often that before the older, and before all are."""


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
    """Within, garbage is searched for `RARELY`, and what exists now is left alone."""
    return _PAUSE
