"""Tables of results: as CSV, as lines of Markdown, and as data for the report. Answers to queries: formats.py."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evals.output.files import whole_file
from evals.output.spreadsheet import safe_row


@dataclass(frozen=True)
class Table:
    """Cells as text. The first column names the row; `numeric` columns are right-aligned; `marked` cells stand out.

    `marked` holds (row, column), both from 0.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    marked: frozenset[tuple[int, int]] = field(default_factory=frozenset)


def markdown_row(cells: Iterable[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def write_csv(
    rows: Sequence[Mapping[str, Any]],
    path: str,
    *,
    not_over: str,
    flag: str = "--output",
    heads: Sequence[str] | None = None,
) -> None:
    """Write rows with the same columns, which are `heads` if there may be no row. UsageError if the file cannot be
    written.

    Text that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    with whole_file(path, not_over=not_over, flag=flag) as part, part.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, heads or list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(safe_row, rows))
