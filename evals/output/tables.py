"""Tables of results: for a terminal, as CSV, Markdown and data for the report. Answers to queries: formats.py."""

from __future__ import annotations

import csv
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from rich.box import HEAVY_HEAD, SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

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


def rich_table(
    head: Iterable[str],
    rows: Iterable[Iterable[object]] = (),
    *,
    title: str | None = None,
    left: Container[int] = (0,),
    whole: Container[int] = (),
    gap: int = 3,
    edge: bool = True,
    framed: bool = False,
) -> RichTable:
    """A table for a terminal. All columns are right-aligned but those in `left`; their numbers count from 0.

    A cell is a number, a text, shown without markup of its own, or a styled `Text`. Long cells fold; the columns in
    `whole` do not wrap.
    `gap`: 1 to 3 spaces between columns; `edge`: an empty line above and below; `framed`: lines around every column.
    """
    table = RichTable(
        title=None if title is None else Text(title, style="table.title"),
        title_justify="left",
        box=HEAVY_HEAD if framed else SIMPLE_HEAD,
        pad_edge=framed,
        padding=(0, 1, 0, int(gap == 3)) if gap > 1 else 0,
        show_edge=edge,
    )
    for i, name in enumerate(head):
        justify: Any = "left" if i in left else "right"
        table.add_column(Text(name), justify=justify, no_wrap=i in whole, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return table


def broken(names: Iterable[str]) -> list[str]:
    """Names as narrow heads: they break after each underscore."""
    return [name.replace("_", "_\n") for name in names]


def markdown_lines(head: Sequence[str], rows: Iterable[Iterable[str]], numeric: Container[int] = ()) -> Iterator[str]:
    """The lines of a Markdown table, whose cells are free of markup; `numeric` columns are right-aligned."""
    marks = ["---:" if i in numeric else "---" for i in range(len(head))]
    for cells in chain((head, marks), rows):
        yield f"| {' | '.join(cells)} |"


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
