"""A database that is deleted, moved, replaced or truncated while it is written: the run stops, its rows are kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.command_line import CommandLine

from evals.testing.openai_server import Loopback
from pipeline.store.lost_database import FileLost
from pipeline.store.writer import Store

DB = "a.duckdb"
RUN = ("run", "--num-agents", "2", "--max-timesteps", "4", "--two-timescale", "2", "--db", DB)


def replace() -> None:
    Store("b.duckdb").close()
    os.replace("b.duckdb", DB)


HAPPENINGS: dict[str, tuple[Callable[[], object], str]] = {
    "deleted": (lambda: os.unlink(DB), "deleted or moved"),
    "moved": (lambda: os.rename(DB, "c.duckdb"), "deleted or moved"),
    "moved with its folder gone": (lambda: shutil.move(DB, "elsewhere.duckdb"), "deleted or moved"),
    "replaced by another database": (replace, "replaced"),
    "replaced by a folder": (lambda: (os.unlink(DB), os.mkdir(DB)), "replaced"),
}


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(("happen", "told"), HAPPENINGS.values(), ids=HAPPENINGS)
def test_a_run_whose_file_is_lost_stops_and_says_where_its_rows_are(
    cli: CommandLine, happen: Callable[[], object], told: str
) -> None:
    at = 5

    def fault(request: int, body: dict[str, Any]) -> None:
        if request == at:
            happen()

    with Loopback(fault=fault, latency=0.05) as server:
        ended = cli(*RUN, "--llm", "gpt-4o-mini", "--base-url", server.url)
        asked = len(server.requests)
    assert ended.code == 1, ended.out
    assert f"error: {DB} was {told} while it was being written; all of its rows are in a.rescued-" in ended.err
    assert "Run 1 is in" not in ended.out
    [kept] = Path().glob("a.rescued-*.duckdb")
    with duckdb.connect(str(kept), read_only=True) as db:
        [(calls,)] = db.execute("SELECT count(*) FROM lm_calls WHERE status = 'ok'").fetchall()
        assert db.execute("SELECT status FROM runs").fetchall() == [("failed",)]
    assert asked - 2 <= calls <= asked < 16  # two workers may be waiting for their answers
    with Loopback() as server:
        assert cli("resume", "1", "--db", str(kept), "--base-url", server.url).code == 0
    with duckdb.connect(str(kept), read_only=True) as db:
        assert db.execute("SELECT status FROM runs").fetchall() == [("finished",)]


def write(store: Store, key: str) -> None:
    store.write({"meta": [{"key": key, "value": "x" * 10_000}]})


def test_a_truncated_file_is_noticed_at_the_next_commit() -> None:
    store = Store(DB)
    write(store, "first")
    store.connection.execute("CHECKPOINT")
    write(store, "second")
    os.truncate(DB, 4096)
    with pytest.raises(FileLost, match=f"{DB} was truncated"):
        write(store, "third")
    store.connection.close()


def test_a_file_that_keeps_its_place_is_never_called_lost() -> None:
    with Store(DB) as store:
        for number in range(30):
            write(store, str(number))
            store.connection.execute("CHECKPOINT" if number % 3 else "SELECT 1")
        store.connection.execute("DELETE FROM meta WHERE key <> 'owner' AND key <> 'schema_version'")
        write(store, "last")
