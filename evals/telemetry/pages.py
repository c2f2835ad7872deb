"""The report of a run, as a function that those who may import the report give to those who may not."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.store.columns import Reader

Page = Callable[[Reader, int], str]
"""Makes the report of a run as HTML."""
