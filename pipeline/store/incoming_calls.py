"""Move the model calls that worker processes recorded in files (call_files.py) into the store."""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import duckdb

TOTALS = """count(*) AS calls, count(*) FILTER (status <> 'ok') AS failed,
            coalesce(sum(prompt_tokens), 0)::BIGINT AS prompt_tokens,
            coalesce(sum(completion_tokens), 0)::BIGINT AS completion_tokens,
            coalesce(sum(cost_usd), 0) AS cost_usd,
            count(*) FILTER (cost_usd IS NULL AND response IS NOT NULL) AS unpriced"""
"""Totals over calls: the fields of `pipeline.agents.agents.Usage`."""


class Writer(Protocol):
    """A database that is open for writing (writer.py)."""

    path: str
    connection: duckdb.DuckDBPyConnection

    def transaction(self, work: Callable[[], object]) -> None: ...


def calls_folder(path: str) -> Path:
    """The folder for calls that wait to be moved into the database `path`; one subfolder per run and worker process."""
    return Path(f"{path}.calls").absolute()


def ingest_calls(store: Writer, run_id: int) -> Mapping[str, Any]:
    """Move the waiting calls of a run into `lm_calls`; returns their `TOTALS`, or nothing if none is waiting.

    Files are deleted after the commit. If the process was killed in between, no call is inserted twice.
    """
    files = sorted((calls_folder(store.path) / str(run_id)).glob("*/*.parquet"))
    written = [glob.escape(str(file)) for file in files]
    new = f"""(SELECT DISTINCT ON (call_id) * FROM read_parquet(?)
              ANTI JOIN (SELECT call_id FROM lm_calls WHERE run_id = {run_id:d}) USING (call_id))"""
    totals: dict[str, Any] = {}

    def take() -> None:
        cursor = store.connection.execute(f"SELECT {TOTALS} FROM {new}", [written])
        names = [column[0] for column in cursor.description or ()]
        totals.update(zip(names, cursor.fetchall()[0], strict=True))
        store.connection.execute(f"INSERT INTO lm_calls BY NAME SELECT * FROM {new} ORDER BY call_id", [written])

    if files:
        store.transaction(take)
    for file in files:
        file.unlink(missing_ok=True)
    return totals


def ingest_leftover_calls(store: Writer) -> None:
    """Move the calls of killed runs into the store, because their replies are paid for."""
    root = calls_folder(store.path)
    for folder in root.iterdir() if root.is_dir() else ():
        if folder.name.isdecimal():
            ingest_calls(store, int(folder.name))
    remove_call_files(store.path)


def remove_call_files(path: str) -> None:
    """Remove empty folders for waiting calls, and drafts of killed processes."""
    root = calls_folder(path)
    for draft in root.glob("*/*/*.tmp"):
        draft.unlink(missing_ok=True)
    for folder in (*root.glob("*/*"), *root.glob("*"), root):
        with suppress(OSError):  # not empty, or missing
            folder.rmdir()
