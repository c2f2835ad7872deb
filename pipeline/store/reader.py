"""Open a database read-only: in this process for our own queries, in the sandboxed child for those of users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from pipeline.errors import StoreError, UsageError
from pipeline.store.schema import (
    OPEN_HERE,
    OPENED,
    StoreLocked,
    check_owner,
    explain,
    explained,
    locked,
    not_opened,
    read_as_of_today,
    refuse_no_file,
    refuse_other_formats,
)
from pipeline.store.snapshots import NoAnswer, copy_files, snapshot
from pipeline.temporary_files import temporary_folder

if TYPE_CHECKING:  # the sandboxed process starts faster without numpy
    from pipeline.store.columns import Columns

SECONDS = 60.0
"""The default time limit of a query."""


MEMORY = "2GB"
"""The memory limit of a query."""


def check_file(path: str) -> None:
    """UsageError unless the file exists. Does not open it."""
    refuse_no_file(path)
    if not Path(path).exists():
        raise UsageError(f"--db {path} does not exist; create it with `llm-economist run`, or name another file")


def too_long(seconds: float) -> str:
    return (
        f"the query failed: it took more than {seconds:g} seconds and was stopped; "
        "narrow it (run_id, year), or allow more time with --timeout-seconds"
    )


def too_much_memory() -> str:
    return (
        f"the query failed: it needs more than {MEMORY} of memory; narrow it (run_id, year), or ask for fewer columns"
    )


THREADS = 2


LOCKDOWN = (
    "temp_directory = ''",
    "autoinstall_known_extensions = false",
    "autoload_known_extensions = false",
    "allow_community_extensions = false",
    "python_enable_replacements = false",
    "allow_persistent_secrets = false",
    "enable_external_access = false",
    # DuckDB still allows the database's own path: `WITH x AS (COPY ... TO 'economist.duckdb')` would overwrite it.
    "disabled_filesystems = 'LocalFileSystem,PipeFileSystem'",
    "lock_configuration = true",
)
"""The order matters: later settings lock earlier ones."""


def connect(path: str, *, seconds: float = SECONDS) -> duckdb.DuckDBPyConnection:
    """A read-only connection without access to files, network or settings. EconomistError if that fails."""
    check_file(path)
    refuse_other_formats(path)
    try:
        connection = duckdb.connect(path, read_only=True, config={"memory_limit": MEMORY, "threads": THREADS})
    except (duckdb.Error, OSError, RuntimeError) as error:
        raise not_opened(path, error) from error
    try:
        check_owner(connection, path)
        read_as_of_today(connection)
        for setting in ("TimeZone = 'UTC'", f"max_execution_time = {int(seconds * 1000)}", *LOCKDOWN):
            connection.execute(f"SET {setting}")
    except BaseException as error:
        connection.close()
        if isinstance(error, duckdb.Error):
            raise StoreError(explain(path, error)) from error
        raise
    return connection


def _connect_here(path: str) -> duckdb.DuckDBPyConnection:
    """`connect`, but StoreLocked if this process writes the file: to open and close it would end the process's lock."""
    if Path(path).absolute() in OPEN_HERE:
        raise locked(path, "this process")
    return connect(path)


@contextmanager
def copied_by_writer(path: str, error: StoreLocked) -> Iterator[str]:
    """A copy of a locked database, made by the process that writes it. Raises `error` if no process answers."""
    with temporary_folder() as folder:
        try:
            copy = snapshot(path, folder)
        except NoAnswer:
            raise error from None  # which names the process
        yield copy


@contextmanager
def readable(path: str) -> Iterator[str]:
    """A database file that can be read: `path` itself, or a copy made by the process that is writing it."""
    try:
        _connect_here(path).close()
    except StoreLocked as error:
        with copied_by_writer(path, error) as copy:
            yield copy
        return
    yield path


@contextmanager
def snapshot_of(path: str) -> Iterator[str]:
    """A copy of a database as of its last commit, also while a run writes it; it is removed at the end.

    EconomistError if the database cannot be read or copied.
    """
    with ExitStack() as stack:
        try:
            with connect(path):  # no one can write the file while it is open here
                copy = copy_files(path, stack.enter_context(temporary_folder()))
        except StoreLocked as error:
            copy = stack.enter_context(copied_by_writer(path, error))
        except OSError as error:
            raise StoreError(f"{path} could not be copied ({error})") from error
        yield copy


class ReadOnlyStore:
    """A read-only database, or a copy as of the last commit while a run writes it in any process."""

    def __init__(self, path: str) -> None:
        self.path = path
        OPENED[path] = None
        with ExitStack() as stack:
            try:
                self.connection = _connect_here(path)
            except StoreLocked as error:
                self.connection = connect(stack.enter_context(copied_by_writer(path, error)))
            self._copy = stack.pop_all()

    def __enter__(self) -> ReadOnlyStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and remove the copy if one was made."""
        self.connection.close()
        self._copy.close()

    def rows(self, query: str, parameters: Iterable[Any] = ()) -> list[dict[str, Any]]:
        with explained(self.path):
            values = parameters if isinstance(parameters, Mapping) else list(parameters)
            cursor = self.connection.execute(query, values)
            columns = [column[0] for column in cursor.description or ()]
            return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]

    def columns(self, query: str, parameters: Iterable[Any] = ()) -> Columns:
        with explained(self.path):
            return self.connection.execute(query, list(parameters)).fetchnumpy()
