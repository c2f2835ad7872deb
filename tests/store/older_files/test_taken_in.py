"""Runs of schema version 1 are converted when another database takes them in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pytest
from support.command_line import CommandLine
from support.stores.older_files import (
    DB,
    RUNS,
    TABLES,
    stored,
    the_same,
    version,
    without_yardsticks,
)

from pipeline.store.exchange import export
from pipeline.store.shards import merge
from pipeline.store.writer import Store

pytestmark = pytest.mark.slow  # files are written, degraded and brought up to date: a minute and a half


@pytest.mark.slow
def test_runs_of_an_older_database_are_converted_when_they_are_taken_in(cli: CommandLine, played: Path) -> None:
    shutil.copy(played, "new.duckdb")
    before = stored("new.duckdb")
    assert cli("import", DB, "--db", "new.duckdb", "--again").code == 0
    both = stored("new.duckdb")
    mine = {table: [row for row in both[table] if row["run_id"] <= RUNS] for table in TABLES}
    assert mine == before
    taken = {
        table: [{**row, "run_id": row["run_id"] - RUNS} for row in both[table] if row["run_id"] > RUNS]
        for table in TABLES
    }
    strip = {
        table: [
            {k: v for k, v in row.items() if not k.endswith("call_id")} for row in without_yardsticks(before)[table]
        ]
        for table in TABLES
    }
    got = {
        table: [{k: v for k, v in row.items() if not k.endswith("call_id")} for row in taken[table]] for table in TABLES
    }
    the_same(got, strip)
    assert version() == "1", "the other file is only read"
    scores = "SELECT DISTINCT run_id, schema_version FROM evaluations WHERE study IS NULL"
    assert cli.sql(scores, "new.duckdb") == [{"run_id": 1, "schema_version": 2}]


@pytest.mark.slow
def test_an_older_export_is_converted_and_a_new_one_of_an_older_file_is_of_today(
    cli: CommandLine, played: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("export", "all", "--to", "new", "--db", DB).code == 0
    with monkeypatch.context() as patch:
        patch.setattr(export, "SCHEMA_VERSION", 1)
        patch.setattr(export, "read_as_of_today", lambda connection: None)
        assert cli("export", "all", "--to", "old", "--db", DB).code == 0
    for folder, says in (("new", 2), ("old", 1)):
        assert json.loads(Path(folder, "manifest.json").read_text())["schema_version"] == says
        assert cli("import", folder, "--db", f"from-{folder}.duckdb").code == 0
        assert version(f"from-{folder}.duckdb") == "2"
        the_same(stored(f"from-{folder}.duckdb"), without_yardsticks(stored(played)))
        refused = cli("import", DB, "--db", f"from-{folder}.duckdb")
        assert refused.code == 2, "known runs are not converted again"
        the_same(stored(f"from-{folder}.duckdb"), without_yardsticks(stored(played)))


@pytest.mark.slow
def test_a_shard_of_an_older_version_is_converted_when_it_is_merged(played: Path) -> None:
    with duckdb.connect(DB) as connection:
        connection.execute("UPDATE runs SET status = 'finished'")
    shutil.move(DB, "main.shard-77.duckdb")
    Store("main.duckdb").close()
    ((shard, moved),) = merge("main.duckdb")
    assert shard == "main.shard-77.duckdb"
    assert len(moved) == RUNS
    the_same(stored("main.duckdb"), without_yardsticks(stored(played)))
