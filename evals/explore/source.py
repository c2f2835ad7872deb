"""The databases that the explorer shows, and reading them: a file of its own, or copies of one that a run is writing.

A connection is open only while a page is read: an open one would keep a new run from writing the file. Copies of a
live database are kept for as long as they are young compared to the time that a copy takes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import EconomistError, StoreError, UsageError
from pipeline.store import shards, snapshots
from pipeline.store.reader import ReadOnlyStore, check_file
from pipeline.store.run_lookup import find_run

YOUNG = 0.9
"""Seconds for which a copy of a live database is used again."""

COST_OF_A_COPY = 10
"""A copy is also used again for this many times the seconds that it took."""

RUNS = """
SELECT r.run_id, r.name, r.status, r.scenario, r.llm, r.seed, r.welfare, r.planner_type, r.num_agents, r.max_timesteps,
       r.created_at, r.finished_at, count(y.year) AS years
FROM runs r LEFT JOIN years y ON y.run_id = r.run_id GROUP BY ALL ORDER BY r.run_id DESC
"""


@dataclass(frozen=True)
class Place:
    """A run and the database that holds it."""

    db: str
    run_id: int


@dataclass
class _Copy:
    """A copy of a live database, when it was made, and how long that took."""

    store: ReadOnlyStore
    made: float
    took: float


class Source:
    """Databases to look at. It may be used from several threads; each read sees one state of a database."""

    def __init__(self, databases: Sequence[str], chosen: Sequence[Place] = ()) -> None:
        self.databases, self.chosen = list(databases), list(chosen)
        self._copies: dict[str, _Copy] = {}
        self._runs: tuple[float, Any, dict[Place, dict[str, Any]]] = (0.0, None, {})
        self._lock = threading.RLock()

    @property
    def paths(self) -> list[str]:
        """The databases, and the shards of runs that are played at the same time."""
        found = [path for db in self.databases for path in (db, *shards.shards_of(shards.main_of(db)))]
        return [path for path in dict.fromkeys(found) if os.path.exists(path)]

    @contextmanager
    def reading(self, db: str) -> Iterator[ReadOnlyStore]:
        """A database as of its last commit. EconomistError if it cannot be read."""
        with self._lock:
            if not os.path.exists(snapshots.socket_path(db)):
                self._forget(db)
                with ReadOnlyStore(db) as store:
                    yield store
                return
            yield self._copy(db)

    def _copy(self, db: str) -> ReadOnlyStore:
        known, now = self._copies.get(db), time.monotonic()
        if known is not None and now - known.made < max(YOUNG, COST_OF_A_COPY * known.took):
            return known.store
        self._forget(db)
        store = ReadOnlyStore(db)
        self._copies[db] = _Copy(store, now, time.monotonic() - now)
        return store

    def _forget(self, db: str) -> None:
        if (known := self._copies.pop(db, None)) is not None:
            known.store.close()

    def close(self) -> None:
        """Remove all copies."""
        with self._lock:
            for db in list(self._copies):
                self._forget(db)

    def runs(self) -> dict[Place, dict[str, Any]]:
        """Every run, the newest of a database first, with its number of complete years."""
        read, states, found = self._runs
        now = {path: self.state(path) for path in self.paths}
        if now == states and (None not in now.values() or time.monotonic() - read < YOUNG):
            return found
        found = {}
        for path in now:
            with suppress(StoreError), self.reading(path) as reader:  # a shard may be merged meanwhile
                found |= {Place(path, int(row["run_id"])): row for row in reader.rows(RUNS)}
        self._runs = (time.monotonic(), now, found)
        return found

    def state(self, db: str) -> tuple[int, int] | None:
        """Changes when a database that no run is writing changes; None while one is."""
        if os.path.exists(snapshots.socket_path(db)):
            return None
        with suppress(FileNotFoundError):
            file = os.stat(db)
            return file.st_mtime_ns, file.st_size
        return None

    def progress(self, place: Place) -> dict[str, Any]:
        """What the process that plays the run reports; empty if none does."""
        if not os.path.exists(snapshots.socket_path(place.db)):
            return {}
        try:
            state = snapshots.status(place.db)
        except StoreError:
            return {}
        return state if state.get("run_id") == place.run_id else {}


def opened(runs: Sequence[str], databases: Sequence[str]) -> Source:
    """The databases, with the named runs chosen. UsageError for a missing file or an unknown run."""
    for db in databases:
        check_file(db)
    paths = list(dict.fromkeys(str(Path(db).absolute()) for db in databases))
    source = Source(paths)
    try:
        source.runs()
        for db in paths:  # `runs` passes over shards that vanish, but not over what the user named
            with source.reading(db) as reader:
                reader.rows("SELECT count(*) FROM runs")
        source.chosen = [_found(source, run) for run in runs]
    except EconomistError:
        source.close()
        raise
    return source


def _found(source: Source, run: str) -> Place:
    """The first database's run of that number or name. UsageError names what there is."""
    problems = []
    for path in source.paths:
        with source.reading(path) as reader:
            try:
                return Place(path, int(find_run(reader, run)["run_id"]))
            except UsageError as error:
                problems.append(str(error))
    raise UsageError("; ".join(problems))


SOURCE: list[Source] = []
"""The source of the explorer that this process serves, for `app.py`, which the framework loads by its file name."""
