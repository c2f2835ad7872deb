"""Runs from elsewhere: taken in from an export (export.py) or from another database.

A run keeps its number where that is free; call ids hold the run's number, so they are written anew along with it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipeline.database import StoreLocked, explain
from pipeline.errors import EconomistError, StoreError, UsageError
from pipeline.export import quoted, read_manifest, tables
from pipeline.history import AtRest
from pipeline.store import Store
from pipeline.traces import RUN_STRIDE


class AlreadyHere(UsageError):
    """Every run that was to be taken in is here."""


@dataclass(frozen=True)
class Identity:
    """What tells a run from all others, whatever its number."""

    created_at: str
    name: str | None
    config: str | None


@dataclass(frozen=True)
class Moved:
    """A run that was taken in: its number there and here; `known` if it was here already."""

    old: int
    new: int
    name: str | None
    known: bool


def import_runs(path: str, db: str, *, again: bool = False) -> list[Moved]:
    """Take all runs of an export or of another database into the database `db`, which is made if it does not exist."""
    if not Path(path).exists():
        raise UsageError(f"{path} does not exist; expected a folder made by `export`, or a database")
    new = not Path(db).exists()
    try:
        with Store(db) as store:
            return take_in(store, path, again=again)
    except EconomistError:
        if new:
            Path(db).unlink(missing_ok=True)
        raise


def take_in(store: Store, path: str, *, again: bool = False) -> list[Moved]:
    """Take all runs of an export or of another database into `store`, in one transaction.

    Runs that are here already are left out, unless `again`; UsageError if that leaves none.
    """
    with _source(store, path) as source:
        moved = _numbers(store, source.runs, again=again)
        if source.runs and all(one.known for one in moved):
            here = ", ".join(f"run {one.old} is run {one.new}" for one in moved[:5])
            raise AlreadyHere(
                f"all runs of {path} are in {store.path} already ({here}); --again takes them in once more"
            )
        store._transact(lambda: _insert(store.connection, source, moved))
    return moved


@dataclass(frozen=True)
class Source:
    """Where runs come from: which there are, and a table expression for a run's rows (None for a shared table)."""

    runs: list[dict[str, Any]]
    tables: Mapping[str, Any]
    of_database: str | None

    def rows(self, table: str, run_id: int | None) -> str | None:
        """What to select from, or None if there is nothing."""
        if self.of_database is not None:
            where = "" if run_id is None else f" WHERE run_id = {run_id:d}"
            return f"(FROM {self.of_database}.main.{table}{where})" if table in self.tables else None
        file = self.tables.get(f"{table}/data.parquet" if run_id is None else f"{table}/run_id={run_id}/data.parquet")
        return None if file is None else f"read_parquet({quoted(file)}, hive_partitioning = false)"


@contextmanager
def _source(store: Store, path: str) -> Iterator[Source]:
    if Path(path).is_dir():
        with _of_export(path) as source:
            yield source
    elif Path(path).samefile(store.path):
        raise UsageError(f"{path} is the database itself")
    else:
        with _of_database(store, path) as source:
            yield source


@contextmanager
def _of_export(path: str) -> Iterator[Source]:
    """An export whose files are all as they were written."""
    manifest = read_manifest(path)
    with tempfile.TemporaryDirectory(prefix="llm-economist-") as folder:
        link = Path(folder) / "export"  # DuckDB would take some names of folders for patterns
        link.symlink_to(Path(path).absolute(), target_is_directory=True)
        yield Source(manifest["runs"], {name: link / name for name in manifest["files"]}, None)


@contextmanager
def _of_database(store: Store, path: str) -> Iterator[Source]:
    """Another database of ours, attached for reading."""
    with AtRest(path) as reader:
        runs = reader.rows("SELECT * FROM runs ORDER BY run_id")
    with store.lock:
        try:
            store.connection.execute(f"ATTACH {quoted(path)} AS source (READ_ONLY)")
        except (duckdb.Error, OSError, RuntimeError) as error:
            raise (StoreLocked if "Conflicting lock" in str(error) else StoreError)(explain(path, error)) from error
        try:
            yield Source(runs, tables(store.connection, "source"), "source")
        finally:
            with suppress(duckdb.Error):
                store.connection.execute("DETACH source")


def identity(row: Mapping[str, Any]) -> Identity:
    return Identity(str(row["created_at"]), row["name"], row["config"])


def _numbers(store: Store, runs: Iterable[Mapping[str, Any]], *, again: bool) -> list[Moved]:
    """A number here for every run there: its own where that is free, else the next one."""
    here = store.rows("SELECT run_id, parent_run_id, created_at, name, config FROM runs ORDER BY run_id")
    known = {} if again else {identity(row): int(row["run_id"]) for row in here}
    taken = {int(row[key]) for row in here for key in ("run_id", "parent_run_id") if row[key] is not None}
    runs = list(runs)
    highest = max([0, *taken, *(int(row["run_id"]) for row in runs)])
    moved = []
    for row in runs:
        old, found = int(row["run_id"]), known.get(identity(row))
        if found is not None:
            new = found
        elif old not in taken:
            new = old
        else:
            highest = new = highest + 1
        taken.add(new)
        moved.append(Moved(old, new, row["name"], known=found is not None))
    return moved


def _insert(connection: duckdb.DuckDBPyConnection, source: Source, moved: Sequence[Moved]) -> None:
    """Insert the rows of all new runs, and the shared rows that are not here yet."""
    numbers = {one.old: one.new for one in moved}
    for table, columns in tables(connection).items():
        if "run_id" not in columns:
            _insert_shared(connection, source, table, columns)
            continue
        for one in moved:
            rows = None if one.known else source.rows(table, one.old)
            if rows is not None:
                there = [column for column in _common(connection, rows, columns) if column != "run_id"]
                values = ", ".join([str(one.new), *(_renumbered(column, numbers) for column in there)])
                names = ", ".join(["run_id", *there])
                connection.execute(f"INSERT INTO main.{table} ({names}) SELECT {values} FROM {rows}")


def _insert_shared(connection: duckdb.DuckDBPyConnection, source: Source, table: str, columns: Sequence[str]) -> None:
    """Insert the rows of a table without runs that are not here yet."""
    if (rows := source.rows(table, None)) is not None:
        common = ", ".join(_common(connection, rows, columns))
        new = f"SELECT {common} FROM {rows} EXCEPT SELECT {common} FROM main.{table}"
        connection.execute(f"INSERT INTO main.{table} ({common}) {new}")


def copy_personas(store: Store, path: str) -> None:
    """Take the personas of another database, and nothing else."""
    with _source(store, path) as source:
        columns = tables(store.connection)["personas"]
        store._transact(lambda: _insert_shared(store.connection, source, "personas", columns))


def _common(connection: duckdb.DuckDBPyConnection, rows: str, columns: Sequence[str]) -> list[str]:
    """The columns that both sides have, in this side's order."""
    there = {name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()}
    return [column for column in columns if column in there]


def _renumbered(column: str, numbers: Mapping[int, int]) -> str:
    """A column as it is written here: numbers of runs, and ids of calls, which hold one, are replaced."""
    changed = {old: new for old, new in numbers.items() if old != new}
    if not changed:
        return column
    if column.endswith("run_id"):
        cases = " ".join(f"WHEN {old} THEN {new}" for old, new in changed.items())
        return f"CASE {column} {cases} ELSE {column} END"
    if column.endswith("call_id"):
        cases = " ".join(f"WHEN {old} THEN {(new - old) * RUN_STRIDE}" for old, new in changed.items())
        return f"{column} + CASE {column} // {RUN_STRIDE} {cases} ELSE 0 END"
    return column
