"""Concurrent runs on one database: a run that finds it in use writes a shard file, which is merged later.

DuckDB lets one process own a file. A shard is a complete database, `economist.shard-PID.duckdb` in the folder of
`economist.duckdb`; its runs can be queried, resumed and forked like any other. A run that ends merges all finished
shards into the main file, unless another process is writing that.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from pipeline.errors import StoreError, UsageError
from pipeline.store import snapshots
from pipeline.store.exchange.import_runs import AlreadyHere, ImportedRun, copy_personas, import_into
from pipeline.store.incoming_calls import calls_folder
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.schema import StoreLocked, remove_files
from pipeline.store.writer import Store
from pipeline.temporary_files import temporary_folder

LOCK_TIMEOUT = 10.0
"""Seconds to wait for a process that has the database open but is not a run: it reads, or merges shards."""

MARK = ".shard-"

T = TypeVar("T")


def main_of(db: str) -> str:
    """The main database of a shard; any other database is its own main database."""
    path = Path(db)
    stem, mark, _ = path.stem.rpartition(MARK)
    return str(path.with_name(f"{stem}{path.suffix}")) if mark and stem else db


def shards_of(db: str) -> list[str]:
    """The shards of a database, oldest first."""
    path = Path(db)
    pattern = f"{glob.escape(path.stem)}{MARK}*{glob.escape(path.suffix)}"
    found = [path.with_name(name) for name in glob.glob(pattern, root_dir=path.absolute().parent)]
    return [str(shard) for shard in sorted(found, key=_made)]


def _made(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def new_shard(db: str) -> str:
    """An unused file name for this process's shard."""
    path = Path(db)
    for i in range(1, 1000):
        again = "" if i == 1 else f"-{i}"
        shard = path.with_name(f"{path.stem}{MARK}{os.getpid()}{again}{path.suffix}")
        if not shard.exists():
            return str(shard)
    raise StoreError(f"{db} has too many shards of one process; merge them with `llm-economist run`")


def is_live(db: str) -> bool:
    """Whether a run is writing this file."""
    if not os.path.exists(snapshots.socket_path(db)):
        return False
    try:
        snapshots.status(db)
    except StoreError:
        return False
    return True


def unless_live(db: str, work: Callable[[], T]) -> T | None:
    """Call `work`, again while another process has the file open, and return its result; None if a run has it open."""
    until = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            return work()
        except StoreLocked:
            if is_live(db):
                return None
            if time.monotonic() > until:
                raise
        time.sleep(0.1)


def open_store(db: str) -> Store:
    """Open the database, or a new shard while another run writes it."""
    return unless_live(db, lambda: Store(db, serve=True)) or Store(new_shard(db), serve=True)


def take_personas(shard: Store, db: str) -> None:
    """Copy the personas of a database that another run is writing to a shard of it, if that run answers."""
    with suppress(StoreError), temporary_folder() as folder:
        copy_personas(shard, snapshots.snapshot(db, folder))


def merge(db: str, *, cut_off: bool = False) -> list[tuple[str, list[ImportedRun]]]:
    """Merge all finished shards into their database and delete them; returns the imported runs by shard.

    With `cut_off`, also shards with interrupted runs, which the caller resumes in the main file. Does nothing while
    another run writes the database: that run, or the next one, will merge them.
    """
    ready = at_rest if cut_off else finished
    if not any(map(ready, shards_of(db))):
        return []
    store = unless_live(db, lambda: Store(db))
    if store is None:
        return []
    with store:
        merged = ((shard, _merge_one(store, shard)) for shard in shards_of(db) if ready(shard))
        return [(shard, moved) for shard, moved in merged if moved is not None]


def finished(shard: str) -> bool:
    """Whether no process writes a shard and all of its runs are finished."""
    rows = runs_of(shard)
    return rows is not None and all(row["status"] == "finished" for row in rows)


def at_rest(shard: str) -> bool:
    """Whether no process writes a shard, whatever the status of its runs."""
    return runs_of(shard) is not None


def runs_of(db: str) -> list[dict[str, Any]] | None:
    """Numbers, names and statuses of the runs of a file; None if it cannot be read now."""
    try:
        with ReadOnlyStore(db) as reader:
            return reader.rows("SELECT run_id, name, status FROM runs ORDER BY run_id")
    except (StoreError, UsageError, duckdb.Error):
        return None


def _merge_one(store: Store, shard: str) -> list[ImportedRun] | None:
    try:
        if calls_folder(shard).exists():
            Store(shard).close()  # moves its waiting calls into the shard
        moved: Sequence[ImportedRun] = import_into(store, shard).runs
    except StoreLocked:
        return None  # another process has just resumed it
    except AlreadyHere:
        moved = []  # it was merged before, by a process that was killed before deleting it
    remove_files(shard)
    return list(moved)
