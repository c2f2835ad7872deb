"""Answers of a stored database as DuckDB relations, which keep no file open.

Every query runs in the box of `llm-economist sql` (pipeline/store/query.py): read-only, and on a copy while a run
writes the database, so it can neither harm nor block a run. Its rows come back as Arrow, and are what the relation
reads.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import duckdb
import pyarrow as pa

from evals.sql.saved_queries import question
from pipeline.store.query import SECONDS, ask

_own = threading.local()


def relation(
    db: str,
    sql: str,
    parameters: Iterable[Any] | Mapping[str, Any] = (),
    *,
    lookups: Mapping[str, str] | None = None,
    seconds: float = SECONDS,
) -> duckdb.DuckDBPyRelation:
    """All rows of one SELECT, in memory. UsageError where it does not run, or its rows take more than 2 GB."""
    with ask(db, sql, parameters, lookups=lookups, seconds=seconds) as answer:
        table = pa.Table.from_batches(answer.batches(), schema=answer.schema)
    return _connection().from_arrow(_with_integers(table))


def _with_integers(table: pa.Table) -> pa.Table:
    """DuckDB's sums and counts of integers, which Arrow has as decimal numbers, as integers where 64 bits hold them."""
    for number, field in enumerate(table.schema):
        if field.type == pa.decimal128(38, 0):
            with suppress(pa.ArrowInvalid):
                table = table.set_column(number, field.name, table.column(number).cast(pa.int64()))
    return table


def _connection() -> duckdb.DuckDBPyConnection:
    """Of the main thread DuckDB's default one, so that `duckdb.sql` finds relations; one of its own of any other
    thread, for a connection serves one thread at a time."""
    if threading.current_thread() is threading.main_thread():
        return duckdb.default_connection()
    if not hasattr(_own, "connection"):
        _own.connection = duckdb.connect(":memory:")
    connection: duckdb.DuckDBPyConnection = _own.connection
    return connection


def answer(
    db: str, text: str, values: Mapping[str, Any], *, run_id: int | None = None, seconds: float = SECONDS
) -> duckdb.DuckDBPyRelation:
    """The answer to a saved question, or to one SELECT. UsageError where there is none, or it does not run.

    `values` are those of its `$name`; `$run_id`, where it is asked for and not given, is `run_id`.
    """
    asked = question(text)
    wanted = {one.name for one in asked.parameters} | set(re.findall(r"\$(run_id)\b", asked.sql))
    if run_id is not None and "run_id" in wanted:
        values = {"run_id": run_id, **values}
    if not asked.name:
        return relation(db, asked.sql, values, seconds=seconds)
    bound, lookups = asked.bind(f"{name}={'NULL' if value is None else value}" for name, value in values.items())
    return relation(db, asked.sql, bound, lookups=lookups, seconds=seconds)
