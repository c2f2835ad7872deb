"""The trace store: write runs, years and model calls to a DuckDB file. No other module opens DuckDB for writing.

One process owns a file while it writes. A year is one transaction, and its `years` row marks it as complete.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import duckdb

from pipeline.code_version import code_version
from pipeline.errors import StoreError, UsageError
from pipeline.store import incoming_calls
from pipeline.store.call_rows import Call
from pipeline.store.columns import Columns, Row, Rows, append, now
from pipeline.store.lost_database import FileLost, FileWatch, rescue
from pipeline.store.schema import (
    OPEN_HERE,
    OPENED,
    OPENING,
    QUERY_INTERRUPTED,
    SCHEMA_VERSION,
    check_owner,
    create_database,
    explain,
    explained,
    has_rows,
    make_schema,
    not_opened,
    refuse_no_file,
    refuse_other_formats,
    remove_files,
)
from pipeline.store.snapshots import Server
from pipeline.temporary_files import sweep_for

GROUP = 0.02
"""Seconds during which model calls are collected into one commit."""


def check_path(path: str) -> None:
    """UsageError or StoreError for a path that cannot be opened, before any call is paid for. Creates nothing."""
    check_name(path)
    if Path(path).exists():
        Store(path).close()


def check_name(path: str) -> None:
    """UsageError for a path that no database can have. Neither opens nor creates a file."""
    file = Path(path)
    if path.startswith(":"):
        raise UsageError(f"--db {path} has a special meaning in DuckDB; expected a file, e.g. --db economist.duckdb")
    refuse_no_file(path)
    if not file.absolute().parent.is_dir():
        raise UsageError(f"--db {path}: the folder {file.parent} does not exist; create it first")


class Store:
    """A DuckDB file with our schema, opened for writing. Use as a context manager.

    Model calls are posted and reach the disk within `GROUP` seconds, many per commit. Everything else is written in its
    own transaction, after the calls posted before it. With `serve`, other processes can request copies.
    Raises StoreError in one line if the file is locked, foreign, damaged, newer or not writable, or the disk is full.
    """

    def __init__(self, path: str, *, serve: bool = False) -> None:
        with OPENING:
            self._open(path, serve=serve)

    def _open(self, path: str, *, serve: bool) -> None:
        self.path = path
        OPENED[path] = None
        self.lock = threading.RLock()
        self._pending: list[Row] = []
        self._pending_lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._failure: StoreError | None = None
        refuse_other_formats(path)
        self._new = create_database(path)
        try:
            # An absolute path, because names like `sqlite:x` have a special meaning in DuckDB.
            self.connection = duckdb.connect(str(Path(path).absolute()))
        except (duckdb.Error, OSError, RuntimeError) as error:
            raise not_opened(path, error) from error
        try:
            self._adopt(new=self._new)
        except (StoreError, duckdb.Error) as error:
            self.connection.close()
            raise error if isinstance(error, StoreError) else StoreError(explain(path, error)) from error
        self._file_watch = FileWatch(path)
        self._lost: FileLost | None = None
        self._writer: threading.Thread | None = None
        if Path(path).absolute() not in OPEN_HERE:
            sweep_for(path)
            incoming_calls.ingest_leftover_calls(self)
        OPEN_HERE.add(Path(path).absolute())
        self.server: Server | None = None
        try:
            self.server = Server(path, self.lock) if serve else None
        except StoreError:
            self._remove_if_empty()
            self.close()
            raise

    def _adopt(self, *, new: bool) -> None:
        """Check the owner and version of an existing file, set options, and update its schema."""
        if not new:
            check_owner(self.connection, self.path)
        self.connection.execute("SET max_vacuum_tasks = 0")  # compaction stalls writers for seconds
        self.connection.execute("SET wal_autocheckpoint = '64MB'")
        self.connection.execute("SET threads = 2")
        if not new:
            make_schema(self.connection)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is not None:
            self._remove_if_empty()
        self.close()

    def _remove_if_empty(self) -> None:
        """Remove a file that this store created, if the command failed before it wrote a row.

        The file is still locked, so no other process can have written to it.
        """
        with self.lock, suppress(duckdb.Error):
            if self._new and not self._pending and not has_rows(self.connection):
                remove_files(self.path)

    def close(self) -> None:
        """Write posted calls, stop serving, and close the file."""
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
        """Write calls that were posted during the writer thread's last commit."""
        if self._failure is None:
            try:
                self.flush()
            except StoreError as error:
                self._failure = error

    def _raise_failure(self) -> None:
        """Raise the failure of an earlier commit, once."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def post(self, call: Call | Row) -> None:
        """Add a row of `lm_calls`, committed within `GROUP` seconds. Raises the failure of an earlier commit."""
        self._raise_failure()
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_posted, name="store", daemon=True)
            self._writer.start()
        with self._pending_lock:
            self._pending.append(vars(call) if isinstance(call, Call) else call)
        self._wake.set()

    def flush(self) -> None:
        """Commit all posted calls now."""
        self.write({})

    def _write_posted(self) -> None:
        """The writer thread: one commit per `GROUP` seconds."""
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
        """Append posted calls and the given rows in one transaction, in order; rows of a table share their columns."""
        with self.lock:
            self._raise_failure()
            with self._pending_lock:
                posted, self._pending = self._pending, []
            if posted or any(tables.values()):
                calls = [*posted, *cast(Sequence[Row], tables.get("lm_calls", ()))]
                try:
                    self.transaction(lambda: self._append_all({"lm_calls": calls, **_without_calls(tables)}))
                except KeyboardInterrupt:  # keep the calls, to be written when the store closes
                    with self._pending_lock:
                        self._pending = [*posted, *self._pending]
                    raise

    def _append_all(self, tables: Mapping[str, Rows]) -> None:
        for table, rows in tables.items():
            if isinstance(rows, Mapping):
                append(self.connection, table, rows)
            elif rows:
                columns = list(rows[0])
                appender = self.connection.appender(table, columns=columns)
                appender.append_rows([tuple(row[column] for column in columns) for row in rows])
                appender.flush()

    def transaction(self, work: Callable[[], object]) -> None:
        """Do `work` in one transaction. StoreError if it fails and is rolled back."""
        with self.lock:
            if self._lost is not None:
                raise self._lost
            self._file_watch.before_commit()
            try:
                with interruptible():
                    self.connection.execute("BEGIN")
                    work()
                    self.connection.execute("COMMIT")
            except duckdb.FatalException as error:
                # After "COMMIT succeeded" the rows are safe, but this connection is no longer usable.
                raise StoreError(explain(self.path, error)) from error
            except duckdb.Error as error:
                with suppress(duckdb.Error):  # on a full disk, DuckDB has rolled back already
                    self.connection.execute("ROLLBACK")
                raise StoreError(explain(self.path, error)) from error
            except BaseException:
                with suppress(duckdb.Error):  # after an interrupt, DuckDB has rolled back already
                    self.connection.execute("ROLLBACK")
                raise
            self._check_file()

    def _check_file(self) -> None:
        """Check after a commit that the file is intact; if not, rescue its rows and raise FileLost once.

        Later replies are written to the rescued file. If it could not be made, every later write fails.
        """
        loss = self._file_watch.loss()
        if loss is None:
            self._file_watch.after_commit()
            return
        told = f"{self.path} was {loss} while it was being written"
        try:
            kept = rescue(self.connection, self.path)
        except duckdb.Error as error:
            self._lost = FileLost(f"{told}, and its rows could not be copied ({explain(self.path, error)})")
            raise self._lost from error
        self._file_watch = FileWatch(str(kept))
        raise FileLost(f"{told}; all of its rows are in {kept.name}: resume the run with --db {kept.name}")

    def _copy_years(self, parent: int, run_id: int, before: int) -> None:
        """Copy the parent's agents, and its years before `before`, to a fork."""
        for table in ("agents", "shocks", "votes", "platforms", "decisions", "years"):
            years = "" if table == "agents" else f" AND year < {before:d}"
            self.connection.execute(
                f"INSERT INTO {table} SELECT * REPLACE ({run_id:d}::INTEGER AS run_id) "
                f"FROM {table} WHERE run_id = {parent:d}{years} ORDER BY ALL"
            )

    def write_study(self, study: str, rows: Sequence[Row]) -> None:
        """Replace all rows of a study in `evaluations`, in one transaction."""

        def replace() -> None:
            self.connection.execute("DELETE FROM evaluations WHERE study = ?", [study])
            self._append_all({"evaluations": [{**row, "schema_version": SCHEMA_VERSION} for row in rows]})

        self.transaction(replace)

    def start_run(self, row: Row) -> int:
        """Insert a run with status `running` and return its number, the next one in this file."""
        started = self._started(row)
        self.write({"runs": [started]})
        return int(started["run_id"])

    def start_fork(self, row: Row, programs: Sequence[Row]) -> int:
        """The same for a fork, with its programs, its parent's agents, and its parent's years before `fork_year`, in
        one transaction."""
        started = self._started(row)
        run_id = int(started["run_id"])

        def fork() -> None:
            self._append_all({"runs": [started], "programs": [{**program, "run_id": run_id} for program in programs]})
            self._copy_years(row["parent_run_id"], run_id, row["fork_year"])

        self.transaction(fork)
        return run_id

    def _started(self, row: Row) -> dict[str, Any]:
        """The row of a run that starts now."""
        return {
            "run_id": int(self.one("SELECT coalesce(max(run_id), 0) + 1 FROM runs")),
            **row,
            "created_at": now(),
            "status": "running",
            "code_version": code_version(),
        }

    def reopen_run(self, run_id: int) -> None:
        """Reset a run's status to `running`."""
        statement = "UPDATE runs SET status = 'running', error = NULL, finished_at = NULL WHERE run_id = ?"
        self.transaction(lambda: self.connection.execute(statement, [run_id]))

    def finish_run(self, run_id: int, status: str, error: str | None = None) -> None:
        """Set how a run ended: finished, failed, interrupted or stopped."""
        statement = "UPDATE runs SET status = ?, error = ?, finished_at = ? WHERE run_id = ?"
        self.transaction(lambda: self.connection.execute(statement, [status, error, now(), run_id]))

    def replace(self, table: str, key: Row, rows: Sequence[Row]) -> None:
        """Replace the rows that have the values of `key` by `rows`."""
        where = " AND ".join(f"{column} = ?" for column in key)

        def put() -> None:
            self.connection.execute(f"DELETE FROM {table} WHERE {where}", list(key.values()))
            self._append_all({table: rows})

        self.transaction(put)

    def put_scores(self, rows: Sequence[Row]) -> None:
        """Insert rows of `evaluations`, replacing earlier ones of the same run, subject and metric."""
        same = "DELETE FROM evaluations WHERE run_id = ? AND subject = ? AND metric = ?"

        def put() -> None:
            self.connection.executemany(same, [[row[x] for x in ("run_id", "subject", "metric")] for row in rows])
            self._append_all({"evaluations": [{**row, "schema_version": SCHEMA_VERSION} for row in rows]})

        if rows:
            self.transaction(put)

    def rows(self, query: str, parameters: Iterable[Any] = ()) -> list[dict[str, Any]]:
        """All rows of a query, each as a dict. `parameters`: values for `?`, or by name for `$name`."""
        with self.lock, explained(self.path), interruptible():
            values = parameters if isinstance(parameters, Mapping) else list(parameters)
            cursor = self.connection.execute(query, values)
            columns = [column[0] for column in cursor.description or ()]
            return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]

    def columns(self, query: str, parameters: Iterable[Any] = ()) -> Columns:
        """All rows of a query as arrays of columns, for many rows of numbers."""
        with self.lock, explained(self.path), interruptible():
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


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn DuckDB's RuntimeError after Ctrl-C into KeyboardInterrupt."""
    try:
        yield
    except RuntimeError as error:
        if str(error) == QUERY_INTERRUPTED:
            raise KeyboardInterrupt from error
        raise


def _without_calls(tables: Mapping[str, Rows]) -> dict[str, Rows]:
    return {table: rows for table, rows in tables.items() if table != "lm_calls"}
