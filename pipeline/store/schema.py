"""Create and check the schema, owner and version of a database file, and explain DuckDB's errors to users."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import duckdb

from pipeline.errors import StoreError, UsageError
from pipeline.store import allowed_definitions, older_schema, views
from programs.user_files import refuse_other_kinds

QUERY_INTERRUPTED = "Query interrupted"
"""The message of DuckDB's RuntimeError after Ctrl-C in a query."""

SCHEMA_VERSION = 2
"""Since version 2, welfare is in dollars per person, and benchmarks account for the 1/N of its own tax that a worker
gets back: see older_schema.py."""

OWNER = "llm-economist"

OPEN_HERE: set[Path] = set()
"""Databases that this process has open for writing."""

OPENING = threading.RLock()
"""Held by a thread that opens a database for writing, and by a thread that has one open for a short read. DuckDB
refuses both at once in one process, and closing a file that another thread has just opened would release its lock."""


OPENED: dict[str, None] = {}
"""Databases that this command has opened, in order, to be checked if it fails (damage.py)."""


class StoreLocked(StoreError):
    """A database is open elsewhere, whether it was to be read, written or merged. `locked` writes the message."""


class Catalog(NamedTuple):
    """The contents of a file: its columns (table, name, type), in order, and the SQL of its views by name."""

    columns: tuple[tuple[str, str, str], ...]
    views: dict[str, str]


COLUMNS = """
SELECT table_name, column_name, data_type FROM duckdb_columns()
WHERE database_name = current_database() AND NOT internal
  AND table_name IN (SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() AND NOT temporary)
ORDER BY table_oid, column_index
"""
VIEWS = "SELECT view_name, sql FROM duckdb_views() WHERE database_name = current_database() AND NOT internal"


def _catalog(connection: duckdb.DuckDBPyConnection) -> Catalog:
    return Catalog(tuple(connection.execute(COLUMNS).fetchall()), dict(connection.execute(VIEWS).fetchall()))


@cache
def _wanted() -> Catalog:
    """The catalog of a file of this version."""
    with duckdb.connect(":memory:") as fresh:
        fresh.execute(schema_text())
        fresh.execute(views.text())
        return _catalog(fresh)


def make_schema(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables, views and metadata of a new file, or add what a file of an earlier version lacks.

    One transaction. Values of version 1 are converted; new columns are NULL in existing rows. A complete file is not
    written.
    """
    there = _catalog(connection)
    old = bool(there.columns) and schema_version(connection) < SCHEMA_VERSION
    if there.columns and not old and not _lacks(there):
        return
    connection.execute("BEGIN")
    connection.execute(schema_text())
    for table, column, kind in _missing_columns(there):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    if old:
        older_schema.convert(connection)
    says = [OWNER, str(SCHEMA_VERSION)]
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('owner', ?), ('schema_version', ?)", says)
    connection.execute(views.text())
    connection.execute("COMMIT")


def schema_version(connection: duckdb.DuckDBPyConnection, database: str | None = None) -> int:
    """The schema version of the connection's own file, or of one that is attached as `database`."""
    meta = "meta" if database is None else f"{database}.main.meta"
    (version,) = connection.execute(f"SELECT value FROM {meta} WHERE key = 'schema_version'").fetchall()[0]
    return int(version)


def read_as_of_today(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a read-only connection read an older file as if it had the current schema."""
    tables = connection.execute("SELECT count(*) FROM duckdb_tables()").fetchall()
    if tables != [(0,)] and schema_version(connection) < SCHEMA_VERSION:
        older_schema.read_as_converted(connection, _wanted().columns)
    else:
        older_schema.add_null_columns(connection, _missing_columns(_catalog(connection)))
    views.add_temporary(connection)


def _lacks(there: Catalog) -> bool:
    wanted = _wanted()
    return not (set(there.columns) >= set(wanted.columns) and there.views.items() >= wanted.views.items())


def _missing_columns(there: Catalog) -> list[tuple[str, str, str]]:
    """Columns that existing tables lack."""
    tables, known = {table for table, *_ in there.columns}, {(table, column) for table, column, _ in there.columns}
    wanted = _wanted().columns if tables else ()
    return [column for column in wanted if column[0] in tables and column[:2] not in known]


def schema_text() -> str:
    """The SQL that creates all tables, with comments."""
    return files("pipeline").joinpath("store", "schema.sql").read_text(encoding="utf-8")


_empty: list[bytes] = []
"""The bytes of an empty database with our schema, cached from the first one that this process makes."""


def _write_empty(path: Path) -> None:
    """Write an empty database file and flush it to disk."""
    if not _empty:
        with duckdb.connect(str(path.absolute())) as connection:
            make_schema(connection)
        _empty.append(path.read_bytes())
        return
    with path.open("wb") as file:
        file.write(_empty[0])
        os.fsync(file.fileno())


def create_database(path: str) -> bool:
    """Create a new database unless the file exists; returns whether it was created.

    It is written under another name first, so a killed process leaves no partial file at `path`.
    """
    if Path(path).exists():
        return False
    draft = Path(f"{path}.new-{os.getpid()}")
    try:
        _write_empty(draft)
        if Path(path).exists():
            return False
        draft.rename(path)
        return True
    except (duckdb.Error, OSError, RuntimeError) as error:
        raise StoreError(explain(path, error)) from error
    finally:
        draft.unlink(missing_ok=True)


def has_rows(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether any table except `meta` has a row."""
    tables = dict.fromkeys(table for table, *_ in _wanted().columns if table != "meta")
    return any(connection.execute(f"SELECT 1 FROM main.{table} LIMIT 1").fetchall() for table in tables)


def remove_files(path: str) -> None:
    """Remove a database file and its write-ahead log."""
    for file in (path, f"{path}.wal", f"{path}.wal.checkpoint"):
        Path(file).unlink(missing_ok=True)


def refuse_no_file(path: str) -> None:
    """UsageError if `path` is not a regular file: DuckDB would wait for a pipe. Does not open it."""
    try:
        refuse_other_kinds(os.stat(path), path)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no file has such a name"
        said = why.removeprefix("it ") if why.startswith("it is ") else f"cannot be a file ({why})"
        shown = path if len(path) < 200 else f"{path[:60]}..."
        raise UsageError(f"--db {shown} {said}; expected a DuckDB file, e.g. --db economist.duckdb") from error


def refuse_other_formats(path: str) -> None:
    """StoreError for files of other formats, which DuckDB would read through an in-memory database.

    Skipped while this process has the file open: closing any handle on it would release the POSIX lock.
    """
    file = Path(path)
    if file.absolute() in OPEN_HERE:
        return
    if path.startswith(":"):
        raise StoreError(f"{path} is not a file; choose another --db")
    refuse_no_file(path)
    if file.is_file() and file.stat().st_size:
        with file.open("rb") as head:
            if head.read(12)[8:] != b"DUCK":
                raise StoreError(f"{path} is not a DuckDB database; choose another --db")
    elif file.suffix.lower() in (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet"):
        raise StoreError(f"{path} is not a DuckDB database; choose another --db")


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn errors from damaged files, values outside Python's range, or lack of memory into StoreError.

    Errors in our own queries stay DuckDB errors: `check_owner` has refused files with other tables before.
    """
    try:
        yield
    except duckdb.ProgrammingError:
        raise
    except (duckdb.Error, MemoryError, ValueError, OverflowError) as error:
        raise StoreError(explain(path, error)) from error


def check_owner(connection: duckdb.DuckDBPyConnection, path: str) -> None:
    """StoreError for a database of another program, of a newer version, or with foreign definitions."""
    names = "SELECT table_name FROM system.information_schema.tables"
    tables = {row[0] for row in connection.execute(names).fetchall()}
    if not tables:
        return
    if "meta" not in tables:
        raise StoreError(
            f"{path} is a database of another program (tables: {', '.join(sorted(tables)[:3])}); choose another --db"
        )
    allowed_definitions.refuse(connection, path, {name for name, *_ in _wanted().columns}, _wanted().views)
    _refuse_other_types(connection, path)
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    if meta.get("owner") != OWNER:
        raise StoreError(f"{path} is a database of another program; choose another --db")
    found = meta.get("schema_version", "")
    if not (found.isascii() and found.isdecimal() and len(found) < 10):
        raise StoreError(f"{path} does not say which schema version it has; choose another --db")
    if int(found) > SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {found}, but this program supports {SCHEMA_VERSION}: "
            "upgrade llm-economist, or choose another --db"
        )


def _refuse_other_types(connection: duckdb.DuckDBPyConnection, path: str) -> None:
    """StoreError in one line that names the first of our columns with a wrong type."""
    wanted = {(table, column): kind for table, column, kind in _wanted().columns}
    for table, column, kind in _catalog(connection).columns:
        expected = wanted.get((table, column), kind)
        if kind != expected:
            raise StoreError(f"{path} has {table}.{column} as {kind}, expected {expected}; choose another --db")


def locked(path: str, by: str) -> StoreLocked:
    """The error for a file that `by`, e.g. "another process (PID 7)", has open."""
    return StoreLocked(f"{path} is in use by {by}; wait for it, close the file there, or choose another --db")


def not_opened(path: str, error: Exception) -> StoreError:
    """The error for a file that DuckDB could not open: StoreLocked if another process has it open."""
    return (StoreLocked if "Conflicting lock" in str(error) else StoreError)(explain(path, error))


def holder(text: str) -> str:
    """The process that has the file open, according to DuckDB's message.

    >>> holder("Conflicting lock is held in /usr/bin/python3.11 (PID 7). See also https://duckdb.org/docs")
    'another process (PID 7), python3.11'
    """
    found = re.search(r"held in (?P<program>.+?) \(PID (?P<pid>\d+)\)", text)
    return f"another process (PID {found['pid']}), {Path(found['program']).name}" if found else "another process"


def explain(path: str, error: Exception) -> str:
    """Explain DuckDB's error in one line. Raises KeyboardInterrupt if the error comes from Ctrl-C."""
    text = " ".join(str(error).split())
    if text == QUERY_INTERRUPTED:
        raise KeyboardInterrupt from error
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError):
        return f"{path} needs more memory than is available; close other programs, or use a larger machine"
    if isinstance(error, duckdb.FatalException | duckdb.InternalException) or "checksum" in text:
        return f"{path} is damaged ({text[:160]}); take a copy from a backup, or choose another --db"
    if "Conflicting lock" in text:
        return str(locked(path, holder(text)))
    if "not a valid DuckDB database" in text:
        return f"{path} is not a DuckDB database; choose another --db"
    if "newer version" in text:
        return f"{path} was written by a newer DuckDB; upgrade duckdb, or choose another --db"
    if "No space left" in text:
        return f"the disk of {path} is full; free some space (all finished years are safe)"
    return f"{path} cannot be used: {text[:200]}"
