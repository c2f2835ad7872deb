"""The trace store: the only module that opens DuckDB for writing.

One process owns a file while it writes. A year is one transaction, and its `years` row marks it as whole.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol, cast

import duckdb

from pipeline import arrivals, views
from pipeline.columns import Columns, append
from pipeline.errors import StoreError, UsageError
from pipeline.live import Server

SCHEMA_VERSION = 1
OWNER = "llm-economist"

GROUP = 0.02
"""Seconds for which model calls are gathered into one commit."""

OPEN_HERE: set[Path] = set()
"""Databases that this process has open for writing."""

Row = Mapping[str, Any]
Rows = Sequence[Row] | Columns


def now() -> datetime:
    """The time in UTC without a zone, as all tables have it."""
    return datetime.now(UTC).replace(tzinfo=None)


def check_path(path: str) -> None:
    """Refuse a database path that can never be opened, before anything is paid for. Creates nothing."""
    file = Path(path)
    if path.startswith(":"):
        raise UsageError(
            f"--db {path} has a meaning of its own for DuckDB; expected a file, e.g. --db economist.duckdb"
        )
    try:
        file.exists()
    except OSError as error:
        raise UsageError(f"--db {path[:60]}... cannot be a file ({error.strerror})") from error
    if file.is_dir():
        raise UsageError(f"--db {path} is a folder; expected a DuckDB file, e.g. --db economist.duckdb")
    if file.exists():
        Store(path).close()
        return
    parent = file.absolute().parent
    if not parent.is_dir():
        raise UsageError(f"--db {path}: the folder {file.parent} does not exist; make it first")


class StoreLocked(StoreError):
    """Another process has the database open."""


class Reader(Protocol):
    """What can be asked for rows: the store that is being written, or a file at rest."""

    path: str

    def rows(self, query: str, parameters: Iterable[Any] = ()) -> list[dict[str, Any]]: ...

    def columns(self, query: str, parameters: Iterable[Any] = ()) -> Columns: ...


class Store:
    """A DuckDB file opened for writing, with our schema in it. Use as a context manager.

    Model calls are posted and reach the disk within `GROUP` seconds, many to a commit; everything else is written in
    transactions of its own, after the calls posted before it. With `serve`, other processes may ask for copies.
    Raises StoreError with one line where the file is locked, foreign, damaged, newer, full or not writable.
    """

    def __init__(self, path: str, *, serve: bool = False) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._pending: list[Row] = []
        self._pending_lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._failure: StoreError | None = None
        refuse_other_formats(path)
        _make_whole(path)
        try:
            # The whole path: DuckDB gives names like `sqlite:x` a meaning of their own.
            self.connection = duckdb.connect(str(Path(path).absolute()))
        except (duckdb.Error, OSError, RuntimeError) as error:
            kind = StoreLocked if "Conflicting lock" in str(error) else StoreError
            raise kind(explain(path, error)) from error
        try:
            self._adopt()
        except (StoreError, duckdb.Error) as error:
            self.connection.close()
            raise error if isinstance(error, StoreError) else StoreError(explain(path, error)) from error
        self._writer: threading.Thread | None = None
        if Path(path).absolute() not in OPEN_HERE:
            arrivals.take_leftovers(self)
        OPEN_HERE.add(Path(path).absolute())
        self.server = Server(path, self.lock) if serve else None

    def _adopt(self) -> None:
        """Make the schema in a new file; check owner and version of an old one."""
        check_owner(self.connection, self.path)
        self.connection.execute("SET max_vacuum_tasks = 0")  # compaction stalls writers for seconds
        self.connection.execute("SET wal_autocheckpoint = '64MB'")
        self.connection.execute("SET threads = 2")
        _make_schema(self.connection)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what was posted, stop serving, close the file."""
        self._closing = True
        self._wake.set()
        if self._writer is not None:
            self._writer.join()
            self._write_rest()
        if self.server is not None:
            self.server.close()
        with self.lock:
            self.connection.close()
        OPEN_HERE.discard(Path(self.path).absolute())
        self._raise_failure()

    def _write_rest(self) -> None:
        """What was posted while the writer thread was at its last commit."""
        if self._failure is None:
            try:
                self.flush()
            except StoreError as error:
                self._failure = error

    def _raise_failure(self) -> None:
        """Calls that could not be written must not be forgotten."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def post(self, call: Row) -> None:
        """Take a row of `lm_calls`, to be committed within `GROUP` seconds. Raises why an earlier commit failed."""
        self._raise_failure()
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_posted, name="store", daemon=True)
            self._writer.start()
        with self._pending_lock:
            self._pending.append(call)
        self._wake.set()

    def flush(self) -> None:
        """Commit all posted calls now."""
        self.write({})

    def _write_posted(self) -> None:
        """The writer thread: one commit for all calls of a short while."""
        while not self._closing:
            self._wake.wait()
            if not self._closing:
                time.sleep(GROUP)
            self._wake.clear()
            try:
                self.flush()
            except StoreError as error:
                self._failure = error
                return

    def write(self, tables: Mapping[str, Rows]) -> None:
        """Append posted calls and rows in one transaction, in the order given; rows of a table share their columns."""
        with self.lock:
            self._raise_failure()
            with self._pending_lock:
                posted, self._pending = self._pending, []
            if posted or any(tables.values()):
                calls = [*posted, *cast(Sequence[Row], tables.get("lm_calls", ()))]
                self._transact(lambda: self._append_all({"lm_calls": calls, **_without_calls(tables)}))

    def _append_all(self, tables: Mapping[str, Rows]) -> None:
        for table, rows in tables.items():
            if isinstance(rows, Mapping):
                append(self.connection, table, rows)
            elif rows:
                columns = list(rows[0])
                appender = self.connection.appender(table, columns=columns)
                appender.append_rows([tuple(row[column] for column in columns) for row in rows])
                appender.flush()

    def _transact(self, work: Callable[[], object]) -> None:
        """Do all of `work` in one transaction, or nothing of it. StoreError says why."""
        with self.lock:
            try:
                self.connection.execute("BEGIN")
                work()
                self.connection.execute("COMMIT")
            except duckdb.FatalException as error:
                # "COMMIT succeeded" means the rows are safe, but this connection is not usable any more.
                raise StoreError(explain(self.path, error)) from error
            except duckdb.Error as error:
                with suppress(duckdb.Error):  # on a full disk DuckDB has rolled back by itself
                    self.connection.execute("ROLLBACK")
                raise StoreError(explain(self.path, error)) from error
            except BaseException as error:
                with suppress(duckdb.Error):  # interrupted, DuckDB has rolled back by itself
                    self.connection.execute("ROLLBACK")
                if isinstance(error, RuntimeError) and str(error) == "Query interrupted":
                    raise KeyboardInterrupt from error
                raise

    def copy_years(self, parent: int, run_id: int, before: int) -> None:
        """Give a fork its parent's people and its parent's years before `before`, in one transaction."""

        def copy() -> None:
            for table in ("agents", "shocks", "votes", "platforms", "decisions", "years"):
                years = "" if table == "agents" else f" AND year < {before:d}"
                self.connection.execute(
                    f"INSERT INTO {table} SELECT * REPLACE ({run_id:d}::INTEGER AS run_id) "
                    f"FROM {table} WHERE run_id = {parent:d}{years} ORDER BY ALL"
                )

        self._transact(copy)

    def write_study(self, study: str, rows: Sequence[Row]) -> None:
        """Put rows of `evaluations` in the place of all earlier ones of a study, in one transaction."""

        def replace() -> None:
            self.connection.execute("DELETE FROM evaluations WHERE study = ?", [study])
            self._append_all({"evaluations": rows})

        self._transact(replace)

    def start_run(self, row: Row) -> int:
        """Insert a run with status `running`; its number is the next one in this file."""
        run_id = int(self.one("SELECT coalesce(max(run_id), 0) + 1 FROM runs"))
        started = {
            "run_id": run_id,
            **row,
            "created_at": now(),
            "status": "running",
            "code_version": code_version(),
        }
        self.write({"runs": [started]})
        return run_id

    def reopen_run(self, run_id: int) -> None:
        """Set a run back to `running`."""
        statement = "UPDATE runs SET status = 'running', error = NULL, finished_at = NULL WHERE run_id = ?"
        self._transact(lambda: self.connection.execute(statement, [run_id]))

    def finish_run(self, run_id: int, status: str, error: str | None = None) -> None:
        """Set how a run ended: finished, failed, interrupted or stopped."""
        statement = "UPDATE runs SET status = ?, error = ?, finished_at = ? WHERE run_id = ?"
        self._transact(lambda: self.connection.execute(statement, [status, error, now(), run_id]))

    def replace(self, table: str, key: Row, rows: Sequence[Row]) -> None:
        """Put `rows` in the place of those that have the values of `key`, if there are any."""
        where = " AND ".join(f"{column} = ?" for column in key)

        def put() -> None:
            self.connection.execute(f"DELETE FROM {table} WHERE {where}", list(key.values()))
            self._append_all({table: rows})

        self._transact(put)

    def put_scores(self, rows: Sequence[Row]) -> None:
        """Put rows of `evaluations` in the place of earlier ones of the same run, subject and metric."""
        same = "DELETE FROM evaluations WHERE run_id = ? AND subject = ? AND metric = ?"

        def put() -> None:
            self.connection.executemany(same, [[row[x] for x in ("run_id", "subject", "metric")] for row in rows])
            self._append_all({"evaluations": rows})

        if rows:
            self._transact(put)

    def put_landmarks(self, run_id: int, first: int, *, start: float, oracle: float) -> None:
        """Write `welfare_start` and `welfare_oracle` into the years from `first` on that do not have them."""
        statement = """UPDATE years SET welfare_start = ?, welfare_oracle = ?
                       WHERE run_id = ? AND year >= ? AND welfare_oracle IS NULL"""
        self._transact(lambda: self.connection.execute(statement, [start, oracle, run_id, first]))

    def rows(self, query: str, parameters: Iterable[Any] = ()) -> list[dict[str, Any]]:
        """All rows of a query, each as a dict of its columns."""
        with self.lock:
            cursor = self.connection.execute(query, list(parameters))
            columns = [column[0] for column in cursor.description or ()]
            return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]

    def columns(self, query: str, parameters: Iterable[Any] = ()) -> Columns:
        """All rows of a query, as columns: for many rows of numbers."""
        with self.lock:
            return cast(Columns, self.connection.execute(query, list(parameters)).fetchnumpy())

    def one(self, query: str, parameters: Iterable[Any] = ()) -> Any:
        """The first value of the first row."""
        rows = self.rows(query, parameters)
        return next(iter(rows[0].values())) if rows else None

    def personas(self, *, model: str, strategy: str, seed: int) -> dict[tuple[Any, ...], str]:
        """Stored personas of this model, strategy and seed, by (agent, occupation, sex, age, wage)."""
        query = """SELECT agent, occupation, sex, age, wage, persona FROM personas
                   WHERE model = ? AND strategy = ? AND seed = ?"""
        rows = self.rows(query, [model, strategy, seed])
        return {tuple(row.values())[:5]: row["persona"] for row in rows}


def _without_calls(tables: Mapping[str, Rows]) -> dict[str, Rows]:
    return {table: rows for table, rows in tables.items() if table != "lm_calls"}


@cache
def code_version() -> str:
    """The program's version and a hash of the code that decides what comes of a run, e.g. `2.0.0+5f1c09ab`.

    A checkout changes without its version: runs may only be taken for one another where this is the same.
    """
    return f"{version('llm-economist')}+{code_hash(Path(__file__).parent.parent)}"


def code_hash(root: Path) -> str:
    """A hash of the modules and data in `root` that decide what comes of a run: 8 hexadecimal digits."""
    digest = blake2b(digest_size=4)
    for package in ("signatures", "programs", "pipeline"):
        for file in sorted((root / package).rglob("*")):
            if file.suffix in (".py", ".csv"):
                digest.update(f"{file.relative_to(root).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def _make_schema(connection: duckdb.DuckDBPyConnection) -> None:
    """Tables, views and what the file says of itself, where they are not there yet; all or nothing."""
    connection.execute("BEGIN")
    connection.execute(schema_text())
    for table, column, kind in _missing_columns(connection):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    says = [OWNER, str(SCHEMA_VERSION)]
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('owner', ?), ('schema_version', ?)", says)
    views.keep(connection)
    connection.execute("COMMIT")


def schema_text() -> str:
    """The statements that make all tables, with their comments."""
    return files("pipeline").joinpath("schema.sql").read_text()


COLUMNS = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'main' AND NOT internal"


@cache
def _wanted_columns() -> tuple[tuple[str, str, str], ...]:
    """Table, name and type of every column of this version's schema, in order."""
    with duckdb.connect(":memory:") as fresh:
        fresh.execute(schema_text())
        return tuple(fresh.execute(COLUMNS).fetchall())


def _missing_columns(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    """What the tables of a file from an earlier version lack; there its rows say NULL."""
    there = {row[:2] for row in connection.execute(f"{COLUMNS} AND database_name = current_database()").fetchall()}
    return [wanted for wanted in _wanted_columns() if wanted[:2] not in there]


def _make_whole(path: str) -> None:
    """Make a new database under another name first: who is killed meanwhile leaves no half file at `path`."""
    if Path(path).exists():
        return
    draft = Path(f"{path}.new-{os.getpid()}")
    try:
        with duckdb.connect(str(draft.absolute())) as connection:
            _make_schema(connection)
        if not Path(path).exists():
            draft.rename(path)
    except (duckdb.Error, OSError, RuntimeError) as error:
        raise StoreError(explain(path, error)) from error
    finally:
        draft.unlink(missing_ok=True)


def refuse_other_formats(path: str) -> None:
    """Refuse what DuckDB would open as something else: it reads data files through a database in memory.

    Not while this process has it open: the lock is POSIX's, and closing any handle on the file would drop it.
    """
    file = Path(path)
    if file.absolute() in OPEN_HERE:
        return
    if path.startswith(":"):
        raise StoreError(f"{path} is not a file; choose another --db")
    if file.is_file() and file.stat().st_size:
        with file.open("rb") as head:
            if head.read(12)[8:] != b"DUCK":
                raise StoreError(f"{path} is not a DuckDB database; choose another --db")
    elif file.suffix.lower() in (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet"):
        raise StoreError(f"{path} is not a DuckDB database; choose another --db")


def check_owner(connection: duckdb.DuckDBPyConnection, path: str) -> None:
    """Refuse a database of another program or of a newer version of this one."""
    names = "SELECT table_name FROM information_schema.tables"
    tables = {row[0] for row in connection.execute(names).fetchall()}
    if not tables:
        return
    if "meta" not in tables:
        raise StoreError(
            f"{path} is a database of another program (tables: {', '.join(sorted(tables)[:3])}); choose another --db"
        )
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    if meta.get("owner") != OWNER:
        raise StoreError(f"{path} is a database of another program; choose another --db")
    found = meta.get("schema_version", "")
    if not found.isdecimal():
        raise StoreError(f"{path} does not say which schema version it has; choose another --db")
    if int(found) > SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {found}, this program knows {SCHEMA_VERSION}: "
            "upgrade llm-economist, or choose another --db"
        )


def explain(path: str, error: Exception) -> str:
    """DuckDB's error as one line for a user."""
    text = " ".join(str(error).split())
    if "Conflicting lock" in text:
        holder = text.partition("PID ")[2].partition(")")[0] or "?"
        return f"{path} is in use by another process (PID {holder}); wait for it, or choose another --db"
    if "not a valid DuckDB database" in text:
        return f"{path} is not a DuckDB database; choose another --db"
    if "newer version" in text:
        return f"{path} was written by a newer DuckDB; upgrade duckdb, or choose another --db"
    if "No space left" in text:
        return f"the disk of {path} is full; free some space (all finished years are safe)"
    return f"{path} cannot be used: {text[:200]}"


def as_json(value: Any) -> str:
    """JSON text for a JSON column, keys in order."""
    return json.dumps(value, sort_keys=True, default=str)


def row_of(value: Any) -> dict[str, Any]:
    """A dataclass as a row, without copying its values."""
    return {field.name: getattr(value, field.name) for field in fields(value)}
