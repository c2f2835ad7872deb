"""Export runs to a folder of Parquet files with a manifest of checksums (exchange/manifest.py reads it)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb

from pipeline.code_version import code_version
from pipeline.errors import StoreError, UsageError
from pipeline.store.columns import Reader, Row
from pipeline.store.exchange.manifest import FORMAT, FORMAT_VERSION, MANIFEST, RUN_KEYS
from pipeline.store.reader import ReadOnlyStore, readable
from pipeline.store.run_lookup import find_runs, with_ancestors
from pipeline.store.schema import SCHEMA_VERSION, check_owner, explain, read_as_of_today
from pipeline.temporary_files import draft_folder_of
from programs.user_files import LARGEST_MANIFEST

BASE_TABLES = """
SELECT t.table_name, list(c.column_name ORDER BY c.column_index) AS columns
FROM duckdb_tables() t JOIN duckdb_columns() c USING (database_oid, schema_oid, table_oid)
WHERE t.database_name = coalesce(?, current_database()) AND t.schema_name = 'main' AND NOT t.temporary
  AND t.table_name <> 'meta'
GROUP BY t.table_name ORDER BY t.table_name
"""

Columns = dict[str, list[str]]
"""The columns of every table but `meta`."""


Describe = Callable[[Reader, Path, dict[str, Any]], str]
"""A text about an export, from its database, its folder and its manifest."""

DESCRIPTION = "README.md"


def export(db: str, runs: Sequence[str], to: str, *, describe: Describe | None = None) -> dict[str, Any]:
    """Write runs with their ancestors, or `all` runs and studies, to the new folder `to`; returns the manifest.

    `runs`: numbers, names or ranges of numbers. `describe` makes the text of README.md; without it there is none.
    Files are written to a draft folder, which is renamed at the end, so a partial export never looks complete.
    """
    check_new(to)
    with readable(db) as path:
        with ReadOnlyStore(path) as reader:
            chosen = chosen_runs(reader, runs)
        with new_folder(to) as part:
            manifest = _write(path, part, chosen, studies=list(runs) == ["all"])
            if describe is not None:
                with ReadOnlyStore(path) as reader:
                    text = describe(reader, part, manifest)
                (part / DESCRIPTION).write_text(text, encoding="utf-8", newline="\n")
            return manifest


@contextmanager
def new_folder(to: str) -> Iterator[Path]:
    """A draft folder that becomes the folder `to` on success; on failure it is removed, with the parents made for
    it. UsageError if `to` cannot be made, StoreError if it cannot be written."""
    target = check_new(to)
    missing = [folder for folder in target.parents if not folder.exists()]
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part = draft_folder_of(target)
        except OSError as error:
            raise UsageError(f"--to {to} cannot be made ({error.strerror})") from error
        try:
            yield part
            part.chmod(0o777 & ~_umask())
            os.rename(part, target)
        except OSError as error:
            raise StoreError(f"--to {to} cannot be written ({error.strerror})") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # it was not made, or another process uses it
                folder.rmdir()
        raise


def _umask() -> int:
    """The user's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def check_new(to: str) -> Path:
    """The folder that `--to` names. UsageError if it is a file or has content."""
    target = Path(to).absolute()
    if target.is_dir():
        if any(target.iterdir()):
            raise UsageError(f"--to {to} is not empty; name a new folder")
    elif target.exists():
        raise UsageError(f"--to {to} is a file; name a new folder")
    return target


def chosen_runs(reader: Reader, runs: Sequence[str]) -> Sequence[Row]:
    """The rows of all runs (`all`), or of `runs` and their ancestors, which come first."""
    if list(runs) == ["all"]:
        rows = reader.rows("SELECT * FROM runs ORDER BY run_id")
        if not rows and not reader.rows("SELECT 1 FROM studies LIMIT 1"):
            raise UsageError(f"there are no runs in {reader.path}")
        return rows
    families = [[*with_ancestors(reader, run)][::-1] for run in find_runs(reader, runs)]
    return [*{row["run_id"]: row for family in families for row in family}.values()]


def _write(path: str, folder: Path, chosen: Sequence[Row], *, studies: bool) -> dict[str, Any]:
    """Write the files and the manifest of these runs to `folder`; with `studies`, also the rows of studies."""
    files: dict[str, dict[str, Any]] = {}
    with _exporter(path, folder) as connection:
        for table, columns in tables(connection).items():
            for name, query in _files_of(table, columns, [row["run_id"] for row in chosen], studies=studies):
                rows = _copy(connection, query, folder / name)
                if rows:
                    files[name] = {"rows": rows, **_fingerprint(folder / name)}
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "schema_version": SCHEMA_VERSION,
        "code_version": code_version(),
        "runs": [{**{name: row[name] for name in RUN_KEYS}, "created_at": str(row["created_at"])} for row in chosen],
        "files": files,
    }
    text = json.dumps(manifest, indent=1) + "\n"
    if len(text) > LARGEST_MANIFEST:
        raise StoreError(f"an export of {len(chosen):,} runs has a manifest too long for `import`; export single runs")
    (folder / MANIFEST).write_text(text, encoding="ascii")
    return manifest


def _files_of(table: str, columns: Sequence[str], runs: Sequence[int], *, studies: bool) -> Iterator[tuple[str, str]]:
    """A table's files with the query for their rows: one per run, and one for rows that belong to no run."""
    if "run_id" not in columns:
        yield f"{table}/data.parquet", f"FROM main.{table}"
        return
    own = f"SELECT * EXCLUDE (run_id) FROM main.{table}"
    if studies:
        yield f"{table}/data.parquet", f"{own} WHERE run_id IS NULL"
    for run_id in runs:
        yield f"{table}/run_id={run_id}/data.parquet", f"{own} WHERE run_id = {run_id:d}"


@contextmanager
def _exporter(path: str, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection that can write to one folder and has no other access."""
    try:
        with duckdb.connect(path, read_only=True) as connection:
            check_owner(connection, path)
            read_as_of_today(connection)
            connection.execute("SET temp_directory = ''")
            connection.execute("SET autoinstall_known_extensions = false")
            connection.execute(f"SET allowed_directories = [{quoted(folder)}]")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield connection
    except (duckdb.Error, MemoryError) as error:
        raise StoreError(f"the export to {folder.parent} failed: {explain(path, error)}") from error


def _copy(connection: duckdb.DuckDBPyConnection, query: str, file: Path) -> int:
    """Write the rows of a query to a file, unless there are none; returns their number."""
    if not connection.execute(f"SELECT 1 FROM ({query}) LIMIT 1").fetchall():
        return 0
    file.parent.mkdir(parents=True, exist_ok=True)
    copied = connection.execute(f"COPY ({query}) TO {quoted(file)} (FORMAT parquet, COMPRESSION zstd)").fetchall()
    return int(copied[0][0])


def _fingerprint(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}


def tables(connection: duckdb.DuckDBPyConnection, database: str | None = None) -> Columns:
    """The tables and their columns, of the connection's own database or of an attached one."""
    return dict(connection.execute(BASE_TABLES, [database]).fetchall())


def quoted(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"
