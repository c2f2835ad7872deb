"""Files of schema version 1 are read and converted to the units of today, once and whole, even if killed."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest
from support.command_line import CommandLine
from support.stores.older_files import (
    DB,
    UNITS,
    YARDSTICKS,
    rows_of,
    stored,
    the_same,
    version,
    without_yardsticks,
)

from pipeline.store.reader import ReadOnlyStore
from pipeline.store.writer import Store

pytestmark = pytest.mark.slow  # files are written, degraded and brought up to date: a minute and a half


@pytest.mark.slow
def test_the_files_of_these_tests_differ_in_all_that_was_otherwise(played: Path, degraded: Path) -> None:
    now, then = stored(played), stored(degraded)
    assert version(degraded) == "1"
    assert "welfare_oracle_grid" not in then["years"][0]
    for table, names in (("years", (*UNITS["years"], "welfare_best_response")), ("decisions", YARDSTICKS["decisions"])):
        for name in names:
            moved = sum(a[name] != pytest.approx(b[name]) for a, b in zip(now[table], then[table], strict=True))
            assert moved > len(now[table]) / 4, name
    others = [(a["objective"], b["objective"]) for a, b in zip(now["decisions"], then["decisions"], strict=True)]
    assert 0 < sum(a != pytest.approx(b) for a, b in others) < len(others)


@pytest.mark.slow
def test_opening_a_file_for_writing_converts_its_units_once_and_leaves_yardsticks_out(played: Path) -> None:
    Store(DB).close()
    assert version() == "2"
    the_same(stored(), without_yardsticks(stored(played)))
    before = Path(DB).read_bytes()
    Store(DB).close()
    assert Path(DB).read_bytes() == before


@pytest.mark.slow
def test_a_file_that_is_only_read_shows_what_it_would_show_if_it_were_converted(played: Path) -> None:
    Path(DB).chmod(0o444)
    before = Path(DB).read_bytes()
    with ReadOnlyStore(DB) as reader:
        the_same(rows_of(reader.connection), without_yardsticks(stored(played)))
        qualified = reader.rows("SELECT inverse_income FROM main.years ORDER BY run_id, year")
        assert [row["inverse_income"] for row in qualified] == pytest.approx(
            [row["inverse_income"] for row in stored(played)["years"]], rel=1e-9
        )
        (mean,) = reader.rows("SELECT mean_welfare, mean_regret FROM run_summary WHERE run_id = 1")
    welfare = [row["welfare"] for row in stored(played)["years"] if row["run_id"] == 1]
    assert mean == {"mean_welfare": pytest.approx(sum(welfare) / len(welfare)), "mean_regret": None}
    assert Path(DB).read_bytes() == before


@pytest.mark.slow
def test_a_file_that_lacks_columns_and_tables_of_version_1_is_read_and_converted_too(played: Path) -> None:
    with duckdb.connect(DB) as connection:
        connection.execute("ALTER TABLE years DROP COLUMN welfare_start")
        connection.execute("ALTER TABLE evaluations DROP COLUMN study")
        connection.execute("DROP TABLE optimizer_trials")
    with ReadOnlyStore(DB) as reader:
        read = rows_of(reader.connection)
        assert reader.rows("SELECT count(*) AS n FROM evaluations") == [{"n": 0}]
    Store(DB).close()
    the_same(read, without_yardsticks(stored(played)))
    names = sorted(read["years"][0])
    assert [[row[n] for n in names] for row in stored()["years"]] == [[row[n] for n in names] for row in read["years"]]


@pytest.mark.slow
def test_a_year_of_a_fork_whose_parent_is_gone_counts_as_its_own() -> None:
    with duckdb.connect(DB) as connection:
        for table in ("runs", "years", "decisions", "agents"):
            connection.execute(f"DELETE FROM {table} WHERE run_id <> 5")
    before = {(row["year"], row["welfare"]) for row in stored()["years"]}
    Store(DB).close()
    assert {(row["year"], row["welfare"]) for row in stored()["years"]} == before  # utilitarian is dollars per person


@pytest.mark.slow
def test_scores_of_an_evaluation_are_deleted_and_those_of_a_study_are_marked(cli: CommandLine) -> None:
    with duckdb.connect(DB, read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM evaluations WHERE run_id = 1").fetchall() > [(10,)]
    with Store(DB) as store:
        store.write_study("new", [{"subject": "arm", "metric": "welfare", "score": 1.0, "study": "new"}])
    kept = cli.sql("SELECT study, score, schema_version FROM evaluations ORDER BY study", DB)
    assert kept == [
        {"study": "a study", "score": 12.3, "schema_version": None},
        {"study": "new", "score": 1.0, "schema_version": 2},
    ]


OPENER = """
import os, sys
from pipeline.store.writer import Store
for line in sys.stdin:
    if pid := os.fork():
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)
    else:
        Store(line.strip()).close()
        os._exit(0)
"""


@pytest.fixture
def opener() -> Iterator[subprocess.Popen[str]]:
    """A process that opens each file that it is told to in a child, and tells the child's number and how it ended."""
    command = [sys.executable, "-c", OPENER]
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env={"PYTHONPATH": root}) as process:
        yield process
        process.communicate()


def open_and_kill(opener: subprocess.Popen[str], db: str, after: float) -> bool:
    """Whether it was killed before it was done."""
    assert opener.stdin is not None
    assert opener.stdout is not None
    opener.stdin.write(f"{db}\n")
    opener.stdin.flush()
    pid = int(opener.stdout.readline())
    time.sleep(after)
    with suppress(ProcessLookupError):
        os.kill(pid, 9)
    return os.waitstatus_to_exitcode(int(opener.stdout.readline())) == -9


@pytest.mark.slow
def test_who_is_killed_while_converting_leaves_the_old_or_the_new(
    opener: subprocess.Popen[str], degraded: Path, played: Path
) -> None:
    rng, killed, found = random.Random(5), 0, []
    shutil.copy(degraded, "whole.duckdb")
    begun = time.monotonic()
    Store("whole.duckdb").close()
    span, old, new = time.monotonic() - begun, stored(degraded), stored("whole.duckdb")
    the_same(new, without_yardsticks(stored(played)))
    for trial in range(100):
        db = f"{trial}.duckdb"
        shutil.copy(degraded, db)
        died = open_and_kill(opener, db, rng.uniform(0, 1.2 * span))
        # the first look writes nothing, and reads what the log holds
        found.append(version(db))
        the_same(stored(db), {"1": old, "2": new}[found[-1]])
        Store(db).close()
        the_same(stored(db), new)
        killed, span = killed + died, span if died else span * 0.8
        if killed == 20:
            break
    assert killed == 20
    assert found.count("1") >= 3
