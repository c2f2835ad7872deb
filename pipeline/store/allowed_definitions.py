"""Refuse databases with foreign definitions, such as macros, that could change the result of queries.

A database may have our tables and views, and a user's tables and views with other names. Queries in this module
qualify every name with `system`, because a macro of the file could have any unqualified name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import duckdb

from pipeline.errors import StoreError

OF_THE_FILE = "database_name NOT IN ('system', 'temp')"

KINDS = {
    "macro": f"SELECT function_name FROM system.main.duckdb_functions() WHERE {OF_THE_FILE} AND NOT internal",
    "type": f"SELECT type_name FROM system.main.duckdb_types() WHERE {OF_THE_FILE} AND NOT internal",
    "sequence": f"SELECT sequence_name FROM system.main.duckdb_sequences() WHERE {OF_THE_FILE}",
    "index": f"SELECT index_name FROM system.main.duckdb_indexes() WHERE {OF_THE_FILE}",
    "trigger": f"SELECT trigger_name FROM system.main.duckdb_triggers() WHERE {OF_THE_FILE}",
    "schema": f"SELECT schema_name FROM system.main.duckdb_schemas() WHERE {OF_THE_FILE} AND NOT internal "
    "AND schema_name <> 'main'",
}
"""Kinds of definitions that our files never have, each with a query for the names of existing ones."""

TABLES = f"""SELECT table_name, sql, check_constraint_count FROM system.main.duckdb_tables()
WHERE {OF_THE_FILE} AND NOT internal"""
VIEWS = f"SELECT view_name FROM system.main.duckdb_views() WHERE {OF_THE_FILE} AND NOT internal"

OF_DUCKDB = re.compile(r"(?:duckdb|pg|sqlite|pragma)_|information_schema", re.IGNORECASE)
"""Prefixes of DuckDB's own views."""

COMPUTED = re.compile(r" DEFAULT ?\(| GENERATED ALWAYS | REFERENCES ", re.IGNORECASE)
"""Parts of a column's definition that can change its values."""


def refuse(connection: duckdb.DuckDBPyConnection, path: str, tables: Collection[str], views: Collection[str]) -> None:
    """StoreError in one line that names the first foreign definition. `tables`, `views`: the names of ours."""
    for kind, name in _foreign(connection, tables, views):
        drop = f"DROP {kind.upper()} {name}" if kind in (*KINDS, "view", "table") else "a database without it"
        raise StoreError(
            f"{path} defines the {kind} {name!r}, which could change the results of queries; "
            f"choose another --db, or change a copy with DuckDB: {drop}"
        )


def _foreign(
    connection: duckdb.DuckDBPyConnection, tables: Collection[str], views: Collection[str]
) -> Iterator[tuple[str, str]]:
    for kind, query in KINDS.items():
        yield from ((kind, name) for (name,) in connection.execute(query).fetchall())
    for (name,) in connection.execute(VIEWS).fetchall():
        if name.lower() in tables or OF_DUCKDB.match(name):
            yield "view", name
    for name, sql, checks in connection.execute(TABLES).fetchall():
        if name.lower() in views or OF_DUCKDB.match(name):
            yield "table", name
        elif name.lower() in tables and (checks or COMPUTED.search(sql)):
            yield "default, check or computed column of the table", name
