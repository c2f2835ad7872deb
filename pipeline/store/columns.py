"""Rows of tables: as dicts or as arrays of columns, which is fast for a million rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Protocol

import duckdb
import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]
"""A table's columns by name, all of the same length; masked values are NULL."""

BULK = 10_000
"""From this number of rows on, columns are inserted with Arrow, whose fixed cost is too high for fewer."""


def nulls(length: int) -> NDArray[Any]:
    """A column of NULLs."""
    return np.ma.masked_array(np.zeros(length), mask=True)


def append(connection: duckdb.DuckDBPyConnection, table: str, columns: Columns) -> None:
    """Append rows to a table, in the current transaction."""
    if len(next(iter(columns.values()))) < BULK:
        appender = connection.appender(table, columns=list(columns))
        appender.append_rows(list(zip(*(column.tolist() for column in columns.values()), strict=True)))
        appender.flush()
        return
    connection.register("incoming", _as_arrow(columns))
    try:
        connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM incoming")
    finally:
        connection.unregister("incoming")


def _as_arrow(columns: Columns) -> Any:
    """An Arrow table. The import is local because it takes longer than some runs."""
    import pyarrow

    return pyarrow.table(
        {name: pyarrow.array(np.ma.getdata(c), mask=np.ma.getmaskarray(c)) for name, c in columns.items()}
    )


Row = Mapping[str, Any]


Rows = Sequence[Row] | Columns


def now() -> datetime:
    """The current time in UTC, without a time zone, as in all tables."""
    return datetime.now(UTC).replace(tzinfo=None)


class Reader(Protocol):
    """A source of rows: the store that is being written, or a read-only file."""

    path: str

    def rows(self, query: str, parameters: Iterable[Any] = ()) -> list[dict[str, Any]]: ...

    def columns(self, query: str, parameters: Iterable[Any] = ()) -> Columns: ...


def as_json(value: Any) -> str:
    """JSON text for a JSON column, with sorted keys."""
    return json.dumps(value, sort_keys=True, default=str)


def row_of(value: Any) -> dict[str, Any]:
    """A dataclass as a row; values are not copied."""
    return {field.name: getattr(value, field.name) for field in fields(value)}
