"""Query results of a stored database as DuckDB relations, which keep no file open.

A relation reads rows that were fetched as Arrow. This program's own queries run in this process; a user's query runs in
the sandbox of `llm-economist sql` (pipeline/store/query.py). Both are read-only, and read a copy while a run writes the
database, so they can neither harm nor block a run.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import duckdb
import pyarrow as pa

from evals.sql.saved_queries import question
from pipeline.store.query import ask
from pipeline.store.reader import SECONDS, ReadOnlyStore
from pipeline.store.schema import OPENING, explained
from pipeline.store.wide_values import shown

_own = threading.local()


@contextmanager
def reading(db: str) -> Iterator[ReadOnlyStore]:
    """Open the database for a short internal query, as of its last commit; no other thread can open one meanwhile."""
    with OPENING, ReadOnlyStore(db) as reader:
        yield reader


def own(db: str, sql: str, parameters: Mapping[str, Any]) -> duckdb.DuckDBPyRelation:
    """All rows of an internal SELECT, in memory. StoreError if the database cannot be read."""
    with reading(db) as reader, explained(db):
        table = shown(reader.connection.sql(sql, params=dict(parameters) or None)).to_arrow_table()
    return _relation(table)


def _relation(table: pa.Table) -> duckdb.DuckDBPyRelation:
    return _connection().from_arrow(_with_integers(table))


def _with_integers(table: pa.Table) -> pa.Table:
    """Convert DuckDB's sums and counts of integers, which Arrow represents as decimals, to integers that fit in 64
    bits."""
    for number, field in enumerate(table.schema):
        if field.type == pa.decimal128(38, 0):
            with suppress(pa.ArrowInvalid):
                table = table.set_column(number, field.name, table.column(number).cast(pa.int64()))
    return table


def _connection() -> duckdb.DuckDBPyConnection:
    """The connection of a thread: DuckDB's default one in the main thread, so that `duckdb.sql` finds relations; a
    separate one in any other thread, because a connection serves one thread at a time."""
    if threading.current_thread() is threading.main_thread():
        return duckdb.default_connection()
    if not hasattr(_own, "connection"):
        _own.connection = duckdb.connect(":memory:")
    connection: duckdb.DuckDBPyConnection = _own.connection
    return connection


def answer(
    db: str, text: str, values: Mapping[str, Any], *, run_id: int | None = None, seconds: float = SECONDS
) -> duckdb.DuckDBPyRelation:
    """The result of a saved query, or of one SELECT. UsageError if the query does not exist or does not run.

    `values` holds the value of each `$name`; a `$run_id` without a value is `run_id`.
    """
    asked = question(text)
    wanted = {one.name for one in asked.parameters} | set(re.findall(r"\$(run_id)\b", asked.sql))
    if run_id is not None and "run_id" in wanted:
        values = {"run_id": run_id, **values}
    bound, lookups = values, dict[str, str]()
    if asked.name:
        bound, lookups = asked.bind(f"{name}={'NULL' if value is None else value}" for name, value in values.items())
    with ask(db, asked.sql, bound, lookups=lookups, seconds=seconds) as found:
        return _relation(pa.Table.from_batches(found.batches(), schema=found.schema))
