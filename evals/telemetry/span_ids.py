"""Ids of traces and spans that follow from what they describe, so that the same run gives the same ids every time.

A run keeps its ids when it is imported, merged or given another number: they come from what identifies it there
(pipeline/store/exchange/import_runs.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from opentelemetry.trace import SpanContext, TraceFlags

SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class SpanIds:
    """The ids of one run's trace, from the run's row."""

    def __init__(self, run: Mapping[str, Any]) -> None:
        self._run = "\n".join(str(run[name]) for name in ("created_at", "name", "config"))
        self.trace = _number(16, self._run)

    def trace_of(self, year: int) -> int:
        """The id of a trace that holds only this year."""
        return _number(16, self._run, year)

    def __call__(self, *what: object, trace: int | None = None) -> SpanContext:
        """The context of the span that `what` describes within the run: nothing is the run itself."""
        return SpanContext(trace or self.trace, _number(8, self._run, *what), is_remote=False, trace_flags=SAMPLED)


def _number(size: int, *parts: object) -> int:
    """A number of `size` bytes; it is never 0, which is no valid id."""
    text = "\0".join(map(str, parts))
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()) or 1
