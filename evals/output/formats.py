"""Write the answer to a query as a table, Markdown, CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from evals.output import spreadsheet
from evals.output.console import Console
from evals.output.number_format import plain
from evals.output.tables import markdown_lines, rich_table
from pipeline.store.query import Answer
from pipeline.terminal import is_unicode
from programs.visible import CONTROL, visible

CLIPPED = 400
"""Maximum characters of a cell in a terminal; elsewhere cells are complete."""

READABLE = 30
"""Minimum width of a text column in a terminal, if its values are as long."""


def write_table(answer: Answer, out: TextIO, *, fold: bool = False) -> None:
    """A table with complete values. In a terminal cells fold, long ones are cut, and a table too narrow to read becomes
    one block per row (unless `fold`)."""
    rows = list(answer.rows())
    console = Console(file=out, highlight=False)
    show = _clipped if console.is_terminal else plain
    names = [visible(name) for name in answer.columns]
    cells = [["NULL" if value is None else show(value).expandtabs() for value in row] for row in rows]
    numeric = [_is_number(answer, i) for i in range(len(answer.columns))]
    wide = [max(map(_wide, column)) for column in zip(*cells, strict=True)] if rows else [0] * len(numeric)
    if console.is_terminal:
        needed = sum(w + 3 if number else min(w, READABLE) + 3 for w, number in zip(wide, numeric, strict=True)) + 1
        if needed > console.width and not fold:
            return _write_blocks(names, rows, cells, console)
    left = [i for i, number in enumerate(numeric) if not number]
    table = rich_table(names, (map(_cell, *pair) for pair in zip(rows, cells, strict=True)), left=left, framed=True)
    for column, number, width in zip(table.columns, numeric, wide, strict=True):
        column.min_width = width if number else None
    if not console.is_terminal:
        heads = map(_wide, names)
        console = Console(file=out, width=sum(max(pair) + 3 for pair in zip(heads, wide, strict=True)) + 1)
    console.print(table)


def _cell(value: Any, text: str) -> Text:
    return Text(text, style="dim" if value is None else "")


def _write_blocks(columns: list[str], rows: list[tuple[Any, ...]], cells: list[list[str]], console: Console) -> None:
    """One block per row and one line per column."""
    for i, (row, texts) in enumerate(zip(rows, cells, strict=True), start=1):
        console.rule(Text(f"row {i}"), align="left")
        table = Table.grid(padding=(0, 2))
        table.add_column(width=max(map(_wide, columns)), style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value, text in zip(columns, row, texts, strict=True):
            table.add_row(Text(name), _cell(value, text))
        console.print(table)


def _clipped(value: Any) -> str:
    text = plain(value)
    return text if len(text) <= CLIPPED else f"{text[:CLIPPED]} ... ({len(text):,} characters)"


def _wide(text: str) -> int:
    """Terminal columns of the longest line."""
    return max(cell_len(line) for line in text.split("\n"))


def _is_number(answer: Answer, column: int) -> bool:
    return str(answer.schema.field(column).type).startswith(("int", "uint", "float", "double", "decimal"))


def write_markdown(answer: Answer, out: TextIO) -> None:
    """A Markdown table; line breaks in cells are `<br>`."""
    head = [markdown_cell(visible(name)) for name in answer.columns]
    rows = (["NULL" if value is None else markdown_cell(plain(value)) for value in row] for row in answer.rows())
    numeric = [i for i in range(len(head)) if _is_number(answer, i)]
    out.writelines(f"{line}\n" for line in markdown_lines(head, rows, numeric))


def markdown_cell(text: str) -> str:
    """`text` as one cell of a Markdown table, without markup of its own."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")


def write_csv(answer: Answer, out: TextIO, *, raw: bool = False) -> None:
    """CSV with a header; NULL is empty (and an empty text is quoted), lists and structures are JSON.

    Text that a spreadsheet would read as a formula gets a leading apostrophe, unless `raw`.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = answer.columns if raw else spreadsheet.safe_values(answer.columns)
    csv.writer(out, lineterminator="\n").writerow(names)
    options = arrow_csv.WriteOptions(include_header=False, quoting_style="needed")
    for batch in answer.batches():
        rows = io.BytesIO()
        columns = [_csv_column(column, raw) for column in batch.columns]
        arrow_csv.write_csv(pa.table(columns, names=[str(i) for i in range(len(columns))]), rows, options)
        out.write(rows.getvalue().decode())


def _csv_column(column: Any, raw: bool) -> Any:
    """The column in a type that CSV supports: nested values as JSON text."""
    import pyarrow as pa

    if not pa.types.is_nested(column.type):
        return spreadsheet.safe_column(column) if pa.types.is_string(column.type) and not raw else column
    values = (_json_value(value) for value in column.to_pylist())
    return pa.array([None if value is None else json.dumps(value, ensure_ascii=False) for value in values], pa.string())


def _fit(column: Any) -> bool:
    """Whether decimals without fraction fit into 64-bit integers."""
    import pyarrow as pa

    try:
        column.cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def _is_longer(column: Any) -> bool:
    """Whether decimals have more digits than Parquet allows."""
    return any(value is not None and not -(10**38) < value < 10**38 for value in column.to_pylist())


def write_json(answer: Answer, out: TextIO) -> None:
    """A JSON array of objects, one per line; NULL, NaN and infinities are null, times are text.

    Characters that `out` cannot encode are escaped and, on a terminal, control characters.
    """
    separator, escaped = "[\n", not is_unicode(out)
    for row in answer.rows():
        record = dict(zip(answer.columns, map(_json_value, row), strict=True))
        said = json.dumps(record, ensure_ascii=escaped, allow_nan=False)
        out.write(separator + (CONTROL.sub(_escaped, said) if out.isatty() else said))
        separator = ",\n"
    out.write("\n]\n" if separator == ",\n" else "[]\n")


def _escaped(control: re.Match[str]) -> str:
    return f"\\u{ord(control.group()):04x}"


def _json_value(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, date | datetime | time):
        return str(value)
    return value


FORMATS: Mapping[str, Callable[[Answer, TextIO], None]] = {
    "table": write_table,
    "markdown": write_markdown,
    "csv": write_csv,
    "json": write_json,
}
"""Text formats. Parquet is the only other one."""

SUFFIXES = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".md": "markdown", ".txt": "table"}


def write_parquet(answer: Answer, file: Path) -> None:
    """A Parquet file with zstd; sums of integers become integers again if they fit, and text beyond 38 digits."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = answer.schema
    for i, field in enumerate(schema):
        if str(field.type) == "decimal128(38, 0)":
            if all(_fit(batch.column(i)) for batch in answer.batches()):
                schema = schema.set(i, field.with_type(pa.int64()))
            elif any(_is_longer(batch.column(i)) for batch in answer.batches()):
                schema = schema.set(i, field.with_type(pa.string()))
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in answer.batches():
            writer.write_table(pa.Table.from_batches([batch]).cast(schema))
