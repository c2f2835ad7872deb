"""A table's rows as columns: a million of them reach the store without an object for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]
"""A table's columns by name, all of one length; what is masked is NULL."""

BULK = 10_000
"""From so many rows on, columns go in through Arrow; below, its fixed cost is more than it saves."""


def nulls(length: int) -> NDArray[Any]:
    """A column in which every value is NULL."""
    return np.ma.masked_array(np.zeros(length), mask=True)


def append(connection: duckdb.DuckDBPyConnection, table: str, columns: Columns) -> None:
    """Add rows to a table, in the transaction that is open."""
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
    """An Arrow table; importing it takes longer than many a run."""
    import pyarrow

    return pyarrow.table(
        {name: pyarrow.array(np.ma.getdata(c), mask=np.ma.getmaskarray(c)) for name, c in columns.items()}
    )
