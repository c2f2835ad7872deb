"""The chart of a query, declared in its opening comment.

-- chart: line x=year y=poor,middle,rich (dollars a year)
-- chart: stack x=people y=share by=answer each=year,question

`x`, `y`, `by`, `each`: columns of the answer. Several in `y` are drawn side by side, or as one line each; `by`: a
column that gives the colors; `each`: columns of which each combination of values gets a panel of its own. The text in
parentheses at the end is the title of the y axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import UsageError
from programs.text_files import each_once

KINDS = ("line", "bar", "stack", "point")
FORM = "-- chart: line|bar|stack|point x=COLUMN y=COLUMN,... [by=COLUMN] [each=COLUMN,...] [(title of the y axis)]"


@dataclass(frozen=True)
class DeclaredChart:
    """What is drawn of an answer: the kind of mark and columns of the answer. `unit`: the title of the y axis."""

    kind: str
    x: str
    y: tuple[str, ...]
    by: str | None = None
    each: tuple[str, ...] = ()
    unit: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that it needs."""
        return (self.x, *self.y, *((self.by,) if self.by else ()), *self.each)

    def check(self, head: Sequence[str]) -> None:
        """UsageError unless an answer with the columns `head` has all that are drawn."""
        for name in self.columns:
            if name not in head:
                raise UsageError(f"-- chart: no column {name!r} in the answer; it has: {', '.join(head)}")

    def __str__(self) -> str:
        by = f" by {self.by}" if self.by else ""
        each = f", for each {' and '.join(self.each)}" if self.each else ""
        return f"{self.kind}: {', '.join(self.y)} over {self.x}{by}{each}"


def parse(line: str) -> DeclaredChart:
    """The chart that a comment line without its `chart:` declares. UsageError if it declares none.

    >>> str(parse("line x=year y=poor,rich each=run_id (dollars a year)"))
    'line: poor, rich over year, for each run_id'
    """
    words, opened, rest = line.strip().partition(" (")
    kind, *pairs = words.split() or [""]
    try:
        given = each_once([(name, value) for name, _, value in (pair.partition("=") for pair in pairs)])
    except ValueError as error:
        raise UsageError(f"-- chart: {error}; expected {FORM}") from None
    wrong = kind not in KINDS or not {"x", "y"} <= set(given) <= {"x", "y", "by", "each"} or "" in given.values()
    if wrong or (opened and not rest.endswith(")")):
        raise UsageError(f"-- chart: {line.strip()}: expected {FORM}")
    y, each = (tuple(filter(None, given.get(name, "").split(","))) for name in ("y", "each"))
    if not y:
        raise UsageError(f"-- chart: {line.strip()}: expected {FORM}")
    return DeclaredChart(kind, given["x"], y, given.get("by"), each, rest[:-1] if opened else "")
