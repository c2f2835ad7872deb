"""Runs from one place to another: exported as Parquet with checksums, and taken in from an export or another database.

A run keeps its number where that is free; call ids hold the run's number, so they are written anew along with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipeline.boxed import Locked
from pipeline.errors import EconomistError, StoreError, UsageError
from pipeline.history import AtRest, find_run
from pipeline.live import snapshot
from pipeline.query import connect
from pipeline.store import SCHEMA_VERSION, Reader, Store, StoreLocked, check_owner, code_version, explain
from pipeline.traces import RUN_STRIDE

FORMAT = "llm-economist export"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"

LISTED = ("run_id", "parent_run_id", "created_at", "name", "status", "config")
"""What the manifest has of each run."""

A_FILE = re.compile(r"(\w+)/(?:run_id=(\d+)/)?data\.parquet")
"""Files of an export: of one table, and of one run where the table has runs."""

BASE_TABLES = """
SELECT t.table_name, list(c.column_name ORDER BY c.column_index) AS columns
FROM duckdb_tables() t JOIN duckdb_columns() c USING (database_oid, schema_oid, table_oid)
WHERE t.database_name = coalesce(?, current_database()) AND t.schema_name = 'main' AND NOT t.temporary
  AND t.table_name <> 'meta'
GROUP BY t.table_name ORDER BY t.table_name
"""

Columns = dict[str, list[str]]
"""The columns of every table but `meta`."""


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


# ---------------------------------------------------------------- export


def export(db: str, runs: str, to: str) -> dict[str, Any]:
    """Write a run, its ancestors if it is a fork, or `all` runs, to the folder `to`; the manifest.

    Everything is written beside the folder, which gets its name last: half an export never looks whole.
    """
    target = Path(to).absolute()
    _refuse_target(target, to)
    with readable(db) as path:
        with AtRest(path) as reader:
            chosen = _chosen(reader, runs)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        except OSError as error:
            raise UsageError(f"--to {to} cannot be made ({error.strerror})") from error
        try:
            manifest = _write(path, part, chosen)
            part.chmod(0o755)
            os.rename(part, target)
        except OSError as error:
            raise StoreError(f"--to {to} cannot be written ({error.strerror})") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return manifest


def _refuse_target(target: Path, to: str) -> None:
    if target.is_dir():
        if any(target.iterdir()):
            raise UsageError(f"--to {to} is not empty; name a new folder")
    elif target.exists():
        raise UsageError(f"--to {to} is a file; name a new folder")


@contextmanager
def readable(db: str) -> Iterator[str]:
    """A database that nobody writes: this one, or a copy that the process that writes it makes."""
    try:
        connect(db).close()
    except Locked:
        with tempfile.TemporaryDirectory(prefix="llm-economist-") as folder:
            yield snapshot(db, folder)
        return
    yield db


def _chosen(reader: Reader, runs: str) -> list[dict[str, Any]]:
    """Rows of `runs`: of all, or of one and of the runs that it was forked from."""
    if runs == "all":
        rows = reader.rows("SELECT * FROM runs ORDER BY run_id")
        if not rows:
            raise UsageError(f"there are no runs in {reader.path}")
        return rows
    chosen = [find_run(reader, runs)]
    while (parent := chosen[0]["parent_run_id"]) is not None:
        found = reader.rows("SELECT * FROM runs WHERE run_id = ?", [parent])
        if not found:
            break
        chosen.insert(0, found[0])
    return chosen


def _write(path: str, folder: Path, chosen: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Write the files and the manifest of these runs to `folder`."""
    files: dict[str, dict[str, Any]] = {}
    with _exporter(path, folder) as connection:
        for table, columns in _tables(connection).items():
            shared = "run_id" not in columns
            for run_id in (None,) if shared else (row["run_id"] for row in chosen):
                name = f"{table}/data.parquet" if shared else f"{table}/run_id={run_id}/data.parquet"
                which = "*" if shared else "* EXCLUDE (run_id)"
                where = "" if shared else f"WHERE run_id = {run_id:d}"
                rows = _copy(connection, f"SELECT {which} FROM main.{table} {where}", folder / name)
                if rows:
                    files[name] = {"rows": rows, **_fingerprint(folder / name)}
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "schema_version": SCHEMA_VERSION,
        "code_version": code_version(),
        "runs": [{**{name: row[name] for name in LISTED}, "created_at": str(row["created_at"])} for row in chosen],
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


@contextmanager
def _exporter(path: str, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection that can write to one folder, and reach nothing else."""
    try:
        with duckdb.connect(path, read_only=True) as connection:
            check_owner(connection, path)
            connection.execute("SET temp_directory = ''")
            connection.execute("SET autoinstall_known_extensions = false")
            connection.execute(f"SET allowed_directories = [{_quoted(folder)}]")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield connection
    except duckdb.Error as error:
        raise StoreError(f"the export to {folder.parent} failed: {' '.join(str(error).split())[:200]}") from error


def _copy(connection: duckdb.DuckDBPyConnection, query: str, file: Path) -> int:
    """Write the rows of a query to a file, unless there are none; how many."""
    if not connection.execute(f"SELECT 1 FROM ({query}) LIMIT 1").fetchall():
        return 0
    file.parent.mkdir(parents=True, exist_ok=True)
    copied = connection.execute(f"COPY ({query}) TO {_quoted(file)} (FORMAT parquet, COMPRESSION zstd)").fetchall()
    return int(copied[0][0])


def _fingerprint(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}


def _tables(connection: duckdb.DuckDBPyConnection, database: str | None = None) -> Columns:
    """Tables and their columns, of the connection's own database or of an attached one."""
    return dict(connection.execute(BASE_TABLES, [database]).fetchall())


def _quoted(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"


# ---------------------------------------------------------------- import


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
        return None if file is None else f"read_parquet({_quoted(file)}, hive_partitioning = false)"


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


def read_manifest(path: str) -> dict[str, Any]:
    """The manifest of an export, once every file was found to be as it says. StoreError names the first that is not."""
    try:
        manifest = json.loads((Path(path) / MANIFEST).read_text())
    except FileNotFoundError:
        raise UsageError(f"{path} has no {MANIFEST}: it was not made by `llm-economist export`") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}/{MANIFEST} is damaged; export again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise StoreError(f"{path}/{MANIFEST} is not of an `llm-economist export`")
    for what, known in (("format_version", FORMAT_VERSION), ("schema_version", SCHEMA_VERSION)):
        if not isinstance(manifest.get(what), int) or manifest[what] > known:
            found = manifest.get(what)
            raise StoreError(f"{path} has {what} {found}, this program knows {known}: upgrade llm-economist")
    if not _well_formed(manifest):
        raise StoreError(f"{path}/{MANIFEST} is damaged; export again")
    for name, file in manifest["files"].items():
        _verify(Path(path), name, file)
    return manifest


def _well_formed(manifest: Mapping[str, Any]) -> bool:
    runs, files = manifest.get("runs"), manifest.get("files")
    return (
        isinstance(runs, list)
        and all(isinstance(run, dict) and set(LISTED) <= set(run) and isinstance(run["run_id"], int) for run in runs)
        and isinstance(files, dict)
        and all(isinstance(file, dict) for file in files.values())
    )


def _verify(folder: Path, name: str, expected: Mapping[str, Any]) -> None:
    if not A_FILE.fullmatch(name):
        raise StoreError(f"{folder}/{MANIFEST} names a file that no export has: {name!r}")
    try:
        found = _fingerprint(folder / name)
    except OSError as error:
        raise StoreError(f"{folder / name} cannot be read ({error.strerror}); export again") from error
    if found != {key: expected.get(key) for key in found}:
        raise StoreError(f"{folder / name} is damaged: its checksum is not that of the manifest; export again")


@contextmanager
def _of_database(store: Store, path: str) -> Iterator[Source]:
    """Another database of ours, attached for reading."""
    with AtRest(path) as reader:
        runs = reader.rows("SELECT * FROM runs ORDER BY run_id")
    with store.lock:
        try:
            store.connection.execute(f"ATTACH {_quoted(path)} AS source (READ_ONLY)")
        except (duckdb.Error, OSError, RuntimeError) as error:
            raise (StoreLocked if "Conflicting lock" in str(error) else StoreError)(explain(path, error)) from error
        try:
            yield Source(runs, _tables(store.connection, "source"), "source")
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
    for table, columns in _tables(connection).items():
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
        columns = _tables(store.connection)["personas"]
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
