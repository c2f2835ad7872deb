"""Reading the store: one SELECT at a time, on a connection that can reach nothing but the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipeline.errors import StoreError, UsageError
from pipeline.store import check_owner, explain

SECONDS = 60
LOCKDOWN = (
    "temp_directory = ''",
    f"max_execution_time = {SECONDS * 1000}",
    "autoinstall_known_extensions = false",
    "autoload_known_extensions = false",
    "allow_community_extensions = false",
    "python_enable_replacements = false",
    "allow_persistent_secrets = false",
    "enable_external_access = false",
    "lock_configuration = true",
)
"""In this order: later settings forbid the earlier ones."""


@dataclass(frozen=True)
class Result:
    """Columns and rows of a query; `more` where rows beyond the limit were left out."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    more: bool


def connect(path: str) -> duckdb.DuckDBPyConnection:
    """A read-only connection without file system, network or settings. StoreError says why there is none."""
    if not Path(path).is_file():
        raise UsageError(f"--db {path} does not exist; `llm-economist run` makes it, or name another file")
    try:
        connection = duckdb.connect(path, read_only=True, config={"memory_limit": "2GB"})
        check_owner(connection, path)
        for setting in LOCKDOWN:
            connection.execute(f"SET {setting}")
    except duckdb.Error as error:
        raise StoreError(explain(path, error)) from error
    return connection


def select(path: str, query: str, parameters: Iterable[Any] = (), *, limit: int | None = None) -> Result:
    """Run one SELECT. UsageError where it is not one or does not run; at most `limit` rows come back."""
    connection = connect(path)
    try:
        _refuse_other_statements(connection, query)
        cursor = connection.execute(query, list(parameters))
        columns = [column[0] for column in cursor.description or ()]
        rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit + 1)
    except duckdb.Error as error:
        raise UsageError(f"the query failed: {' '.join(str(error).split())[:400]}") from error
    finally:
        connection.close()
    kept = rows if limit is None else rows[:limit]
    return Result(columns, kept, more=len(kept) < len(rows))


def _refuse_other_statements(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    try:
        statements = connection.extract_statements(query)
    except ValueError as error:  # a statement type that DuckDB's Python API does not know
        raise UsageError("only SELECT is allowed here") from error
    allowed = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    if len(statements) != 1 or statements[0].type not in allowed:
        raise UsageError("exactly one SELECT is allowed here: the store is read-only")
