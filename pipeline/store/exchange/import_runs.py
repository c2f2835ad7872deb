"""Import runs and studies from an export (exchange/export.py) or from another database.

A run keeps its number if that is free. Call ids contain the run's number, so they change with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from pipeline.errors import StoreError, UsageError
from pipeline.store import older_schema
from pipeline.store.call_rows import RUN_STRIDE
from pipeline.store.exchange.export import quoted, tables
from pipeline.store.exchange.manifest import flaw_of_runs, read_manifest
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.schema import SCHEMA_VERSION, explain, not_opened, schema_version
from pipeline.store.writer import Store
from pipeline.temporary_files import temporary_folder

STUDIED = ("studies", "lm_calls", "evaluations")
"""Tables with the rows of studies, which belong to no run."""

BELOW = "call_id + (SELECT least(0, coalesce(min(call_id), 0)) FROM main.lm_calls)"
"""The new id of a study's call: negative, and below all existing ids."""


class AlreadyHere(UsageError):
    """All runs to be imported are in the database already."""


@dataclass(frozen=True)
class Identity:
    """What identifies a run, whatever its number."""

    created_at: str
    name: str | None
    config: str | None


@dataclass(frozen=True)
class ImportedRun:
    """An imported run: its old and its new number; `known`: whether it was in the database already."""

    old: int
    new: int
    name: str | None
    known: bool


class Imported(NamedTuple):
    """The imported runs, and the names of the imported studies."""

    runs: list[ImportedRun]
    studies: list[str]


def import_runs(path: str, db: str, *, again: bool = False) -> Imported:
    """Import everything from an export or another database into the database `db`, which is created if missing."""
    if not Path(path).exists():
        raise UsageError(f"{path} does not exist; expected a folder made by `export`, or a database")
    with Store(db) as store:
        return import_into(store, path, again=again)


def import_into(store: Store, path: str, *, again: bool = False) -> Imported:
    """Import all runs and studies of an export or another database into `store`, in one transaction.

    Existing studies are skipped, and so are existing runs unless `again`; UsageError if nothing is left.
    """
    with _taken_from(path), _source(store, path) as source:
        _check_runs(store.connection, source, path)
        moved = _numbers(store, source.runs, again=again)
        new = _new_studies(store, source)
        if source.runs and all(one.known for one in moved) and not new:
            here = ", ".join(f"run {one.old} is run {one.new}" for one in moved[:5])
            raise AlreadyHere(
                f"all runs of {path} are in {store.path} already ({here}); --again imports them once more"
            )
        store.transaction(lambda: _insert(store.connection, source, moved))
    return Imported(moved, new)


@contextmanager
def _taken_from(path: str) -> Iterator[None]:
    """Turn DuckDB's errors on the rows of another file into StoreError in one line."""
    try:
        yield
    except (duckdb.Error, MemoryError) as error:
        raise StoreError(explain(path, error)) from error


def _check_runs(connection: duckdb.DuckDBPyConnection, source: Source, path: str) -> None:
    """StoreError unless every listed run exists once and matches the list."""
    listed = [{**row, "created_at": str(row["created_at"])} for row in source.runs]
    if (flaw := flaw_of_runs(listed)) is not None:
        raise StoreError(f"{path} is damaged ({flaw})")
    for row in listed:
        rows = source.rows("runs", row["run_id"])
        same = "created_at = TRY_CAST(? AS TIMESTAMP) AND name = ? AND config = ?"
        said = [row["created_at"], row["name"], row["config"]]
        if not rows or connection.execute(f"SELECT {same} FROM {rows} LIMIT 2", said).fetchall() != [(True,)]:
            raise StoreError(f"{path} is damaged (it lists run {row['run_id']} but does not hold it); export again")


def _new_studies(store: Store, source: Source) -> list[str]:
    """Studies that the store does not have yet: optimizations, validity cards, comparisons."""

    def named(rows_of: Callable[[str], str | None]) -> set[str]:
        found = [rows for table in STUDIED if (rows := rows_of(table)) and _common(store.connection, rows, ["study"])]
        asked = " UNION ".join(f"SELECT study FROM {rows} WHERE study IS NOT NULL" for rows in found)
        return {row["study"] for row in store.rows(asked)} if found else set()

    there = named(lambda table: source.rows(table, None))
    return sorted(there - named(lambda table: f"main.{table}"))


@dataclass(frozen=True)
class Source:
    """The source of an import: its schema `version`, its runs, and table expressions for their rows."""

    version: int
    runs: list[dict[str, Any]]
    tables: Mapping[str, Any]
    of_database: str | None

    def rows(self, table: str, run_id: int | None) -> str | None:
        """The table expression for the rows of a run, or of no run (None); None if there are no rows."""
        if self.of_database is not None:
            own = self.tables.get(table, ())
            where = (
                f"run_id IS NOT DISTINCT FROM {'NULL' if run_id is None else int(run_id)}" if "run_id" in own else True
            )
            return f"(FROM {self.of_database}.main.{table} WHERE {where})" if own else None
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
    """An export with verified checksums."""
    manifest = read_manifest(path)
    with temporary_folder() as folder:
        link = Path(folder) / "export"  # DuckDB would read some folder names as patterns
        link.symlink_to(Path(path).absolute(), target_is_directory=True)
        yield Source(
            manifest["schema_version"], manifest["runs"], {name: link / name for name in manifest["files"]}, None
        )


@contextmanager
def _of_database(store: Store, path: str) -> Iterator[Source]:
    """Another llm-economist database, attached read-only."""
    with ReadOnlyStore(path) as reader:
        runs = reader.rows("SELECT * FROM runs ORDER BY run_id")
    with store.lock:
        try:
            store.connection.execute(f"ATTACH {quoted(path)} AS source (READ_ONLY)")
        except (duckdb.Error, OSError, RuntimeError) as error:
            raise not_opened(path, error) from error
        try:
            yield Source(schema_version(store.connection, "source"), runs, tables(store.connection, "source"), "source")
        finally:
            with suppress(duckdb.Error):
                store.connection.execute("DETACH source")


def identity(row: Mapping[str, Any]) -> Identity:
    return Identity(str(row["created_at"]), row["name"], row["config"])


def _numbers(store: Store, runs: Iterable[Mapping[str, Any]], *, again: bool) -> list[ImportedRun]:
    """A new number for each run: its own if that is free, else the next one."""
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
        moved.append(ImportedRun(old, new, row["name"], known=found is not None))
    return moved


def _insert(connection: duckdb.DuckDBPyConnection, source: Source, moved: Sequence[ImportedRun]) -> None:
    """Insert the rows of all new runs, and new rows that belong to no run."""
    numbers = {one.old: one.new for one in moved}
    for table, columns in tables(connection).items():
        _insert_shared(connection, source, table, columns)
        for one in moved if "run_id" in columns else ():
            rows = None if one.known else source.rows(table, one.old)
            if rows is not None:
                there = [column for column in _common(connection, rows, columns) if column != "run_id"]
                values = ", ".join([str(one.new), *(_renumbered(column, numbers) for column in there)])
                names = ", ".join(["run_id", *there])
                connection.execute(f"INSERT INTO main.{table} ({names}) SELECT {values} FROM {rows}")
    if source.version < SCHEMA_VERSION:
        older_schema.convert(connection, [one.new for one in moved if not one.known])


def _insert_shared(connection: duckdb.DuckDBPyConnection, source: Source, table: str, columns: Sequence[str]) -> None:
    """Insert new rows that belong to no run. Existing studies get no additional rows."""
    if (rows := source.rows(table, None)) is None:
        return
    names = [column for column in _common(connection, rows, columns) if column != "run_id"]
    values = ", ".join(BELOW if column == "call_id" else column for column in names)
    here = f"FROM main.{table}{' WHERE run_id IS NULL' if 'run_id' in columns else ''}"
    new = f"WHERE study IS NULL OR study NOT IN (SELECT study FROM ({here}) WHERE study IS NOT NULL)"
    common = ", ".join(names)
    connection.execute(
        f"INSERT INTO main.{table} ({common}) "
        f"SELECT {values} FROM {rows} {new if 'study' in names else ''} EXCEPT SELECT {common} {here}"
    )


def copy_personas(store: Store, path: str) -> None:
    """Import only the personas of another database."""
    with _source(store, path) as source:
        columns = tables(store.connection)["personas"]
        store.transaction(lambda: _insert_shared(store.connection, source, "personas", columns))


def _common(connection: duckdb.DuckDBPyConnection, rows: str, columns: Sequence[str]) -> list[str]:
    """The columns that both sides have, in the order of `columns`."""
    there = {name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()}
    return [column for column in columns if column in there]


def _renumbered(column: str, numbers: Mapping[int, int]) -> str:
    """The SQL expression for a column, with run numbers replaced, also those in call ids."""
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
