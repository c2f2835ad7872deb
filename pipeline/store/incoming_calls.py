"""Calls that other processes made, on their way into the store: files that wards write (call_files.py)."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.store.writer import Store

TOTALS = """count(*) AS calls, count(*) FILTER (status <> 'ok') AS failed,
            coalesce(sum(prompt_tokens), 0)::BIGINT AS prompt_tokens,
            coalesce(sum(completion_tokens), 0)::BIGINT AS completion_tokens,
            coalesce(sum(cost_usd), 0) AS cost_usd,
            count(*) FILTER (cost_usd IS NULL AND response IS NOT NULL) AS unpriced"""
"""What calls took in all: the fields of `pipeline.agents.agents.Usage`."""


def calls_folder(path: str) -> Path:
    """Where calls of the database `path` wait to be taken in: a folder a run and ward."""
    return Path(f"{path}.calls").absolute()


def ingest_calls(store: Store, run_id: int) -> Mapping[str, Any]:
    """Move the waiting calls of a run into `lm_calls`; their `TOTALS`, or nothing where none waits.

    Files are deleted after the commit. A call that is here already, since a kill came between, is not taken twice.
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
        store._transact(take)
    for file in files:
        file.unlink(missing_ok=True)
    return totals


def ingest_leftover_calls(store: Store) -> None:
    """Take in what the wards of a run wrote whose process was killed: those replies are paid for."""
    root = calls_folder(store.path)
    for folder in root.iterdir() if root.is_dir() else ():
        if folder.name.isdecimal():
            ingest_calls(store, int(folder.name))
    remove_call_files(store.path)


def remove_call_files(path: str) -> None:
    """Remove the folders for waiting calls, as far as none waits; drafts of killed processes go, too."""
    root = calls_folder(path)
    for draft in root.glob("*/*/*.tmp"):
        draft.unlink(missing_ok=True)
    for folder in (*root.glob("*/*"), *root.glob("*"), root):
        with suppress(OSError):  # not empty, or not there
            folder.rmdir()
