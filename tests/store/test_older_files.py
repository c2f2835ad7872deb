"""Files of schema version 1: read and converted to the units of today, once and whole, and completed by `eval`."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import pytest
from rich.console import Console
from support.command_line import CommandLine
from support.older_files import degrade

from pipeline.store.exchange import export
from pipeline.store.query import select
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.shards import merge
from pipeline.store.writer import Store

pytestmark = pytest.mark.slow  # files are written, degraded and brought up to date: a minute and a half

DB = "traces.duckdb"
SIZE = {"num_agents": 4, "max_timesteps": 6, "two_timescale": 3, "llm": "rules"}
MIXED = {"percent_ego": 50, "percent_alt": 25, "percent_adv": 25}
RUNS = 7
TABLES = ("years", "decisions")
YARDSTICKS = {
    "years": ("welfare_best_response", "welfare_start", "welfare_oracle_grid", "welfare_oracle"),
    "decisions": ("best_labor", "best_utility", "regret"),
}
UNITS = {"years": ("welfare", "inverse_income"), "decisions": ("objective",)}

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run 1: all utility types and shocks. 2: bounded. 3: democratic. 4: nobody is asked. 5: run 1 with another
    objective from year 3 on. 6: run 5 with a third one from year 2 on, and so with the first years of run 1. 7: run 1
    cut off in its fifth year. And the scores of an evaluation and of a study."""
    from evals.evaluate.command import evaluate, keep
    from evals.run.command import run
    from evals.run.fork import fork

    folder = tmp_path_factory.mktemp("played")
    db, quiet = str(folder / DB), Console(file=io.StringIO())
    common: dict[str, Any] = {"db": db, "log_dir": str(folder), **SIZE}
    shocks = ("years=2-3: wages*0.5 where wage < 30", "year=4: rebate+500")
    assert run({**common, **MIXED, "shock": shocks}, quiet) == 0
    people = {"satisfaction": "objective", **MIXED}
    assert run({**common, **people, "scenario": "bounded"}, quiet) == 0
    assert run({**common, "satisfaction": "objective", "scenario": "democratic", "platforms": True}, quiet) == 0
    fixed = {"worker_type": "FIXED", "planner_type": "US_FED", "bracket_setting": "US_FED"}
    assert run({**common, **fixed, "name": "fixed"}, quiet) == 0
    assert fork("1", db, 3, {"welfare": "utilitarian", "log_dir": str(folder)}, quiet) == 0
    assert fork("5", db, 2, {"welfare": "rawlsian", "log_dir": str(folder)}, quiet) == 0
    assert run({**common, **MIXED, "shock": shocks, "name": "cut off"}, quiet) == 0
    keep(evaluate(["1"], db, welfare="all", years=None), db, quiet)
    with Store(db) as store:
        for table in ("years", "decisions", "votes", "platforms"):
            store.connection.execute(f"DELETE FROM {table} WHERE run_id = 7 AND year >= 4")
        store.connection.execute("UPDATE runs SET status = 'running', finished_at = NULL WHERE run_id = 7")
        store.write_study("a study", [{"subject": "arm", "metric": "welfare", "score": 12.3, "study": "a study"}])
    return folder / DB


@pytest.fixture(scope="module")
def degraded(played: Path) -> Path:
    """The same as version 1 had it."""
    path = played.with_name("degraded.duckdb")
    shutil.copy(played, path)
    degrade(str(path))
    return path


@pytest.fixture(autouse=True)
def here(nobody_pays: None, degraded: Path) -> None:
    shutil.copy(degraded, DB)


def stored(db: str | Path = DB) -> Rows:
    with duckdb.connect(str(db), read_only=True) as connection:
        return _rows(connection)


def _rows(connection: duckdb.DuckDBPyConnection) -> Rows:
    found = {}
    for table, order in (("years", "run_id, year"), ("decisions", "run_id, year, agent")):
        relation = connection.sql(f"FROM {table} ORDER BY {order}")
        found[table] = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    return found


def version(db: str | Path = DB) -> str:
    with duckdb.connect(str(db), read_only=True) as connection:
        return str(connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchall()[0][0])


def without_yardsticks(rows: Rows) -> Rows:
    return {table: [{**row, **dict.fromkeys(YARDSTICKS[table])} for row in rows[table]] for table in TABLES}


def the_same(one: Rows, other: Rows) -> None:
    for table in TABLES:
        assert len(one[table]) == len(other[table])
        for mine, yours in zip(one[table], other[table], strict=True):
            differs = {
                name: (mine.get(name), value) for name, value in yours.items() if not close(mine.get(name), value)
            }
            assert differs == {}, (table, mine["run_id"], mine["year"])
            assert mine.keys() == yours.keys()


def close(one: Any, other: Any) -> bool:
    """The same value, and numbers to nine digits."""
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=1e-9, abs=1e-6, nan_ok=True)
    return bool(one == other)


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


# -- units -------------------------------------------------------------------------------------------------------


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
        the_same(_rows(reader.connection), without_yardsticks(stored(played)))
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
        read = _rows(reader.connection)
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


# -- killed ------------------------------------------------------------------------------------------------------


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


# -- taken in ----------------------------------------------------------------------------------------------------


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


# -- brought up to date ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_eval_all_makes_every_figure_what_this_version_would_have_stored(cli: CommandLine, played: Path) -> None:
    result = cli("eval", "all", "--db", DB)
    assert (result.code, result.err) == (0, "")
    the_same(stored(), stored(played))
    for mine, right in zip(stored()["decisions"], stored(played)["decisions"], strict=True):
        assert [mine[name] for name in YARDSTICKS["decisions"]] == [right[name] for name in YARDSTICKS["decisions"]]
    assert cli("runs", "--db", DB).err == ""
    before = stored()
    assert cli("eval", "all", "--db", DB).code == 0
    assert stored() == before


@pytest.mark.slow
def test_eval_of_one_run_completes_that_one(cli: CommandLine, played: Path) -> None:
    assert cli("eval", "5", "--db", DB).code == 0
    right = {row["run_id"]: row for row in stored(played)["years"] if row["year"] == 0}
    for row in stored()["years"]:
        if row["year"] == 0:
            expected = right[row["run_id"]]["welfare_oracle"] if row["run_id"] == 5 else None
            assert row["welfare_oracle"] == (None if expected is None else pytest.approx(expected, rel=1e-9))
    assert "runs 1, 2, 3, 4, 6 and 1 more are from an older version" in cli("runs", "--db", DB).err


@pytest.mark.slow
def test_eval_of_a_file_that_cannot_be_written_prints_the_same_yardsticks(cli: CommandLine, played: Path) -> None:
    hold = (
        f"import duckdb, sys; c = duckdb.connect({DB!r}, read_only=True); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdin=-1, stdout=-1) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        result = cli("eval", "1", "2", "3", "--db", DB)
        other.communicate()
    assert "The scores were not stored" in result.err
    assert version() == "1"
    shutil.copy(played, "new.duckdb")
    lines = [
        [
            line
            for line in out.splitlines()
            if line.startswith(("  planner share", "  mean regret", "  equilibrium gap"))
        ]
        for out in (result.out, cli("eval", "1", "2", "3", "--db", "new.duckdb").out)
    ]
    assert lines[0] == lines[1]
    assert len(lines[0]) == 9


@pytest.mark.slow
def test_a_run_of_many_workers_is_completed_through_columns(cli: CommandLine) -> None:
    fixed = ("--worker-type", "FIXED", "--planner-type", "FREE_MARKET", "--bracket-setting", "flat")
    size = ("--num-agents", "6000", "--max-timesteps", "2", "--two-timescale", "2", "--llm", "rules")
    assert cli("run", *size, *fixed, "--db", "many.duckdb").code == 0
    right = stored("many.duckdb")
    degrade("many.duckdb")
    assert cli("eval", "1", "--db", "many.duckdb").code == 0
    for name in YARDSTICKS["decisions"]:
        got, want = ([row[name] for row in rows["decisions"]] for rows in (stored("many.duckdb"), right))
        assert got == want


# -- told --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_commands_that_only_read_say_what_is_missing_and_how_to_have_it(cli: CommandLine) -> None:
    line = (
        "runs 1, 2, 3, 4, 5 and 2 more are from an older version and lack regret and ORACLE: "
        f"`uv run llm-economist eval all --db {DB}` computes them\n"
    )
    assert cli("runs", "--db", DB).err == line
    assert cli("runs", "--json", "--db", DB).err == line
    asked = cli("sql", "select avg(regret) as regret from decisions", "--json", "--db", DB)
    assert (asked.err, json.loads(asked.out)) == (line, [{"regret": None}])
    (call,) = cli.sql("select call_id from calls where run_id = 1 and signature = 'ChooseLabor' limit 1", DB)
    assert "computes them" in cli("show", str(call["call_id"]), "--db", DB).out
    for command in (("report", "1", "3", "-o", "out.html"), ("figure", "regret", "1", "3", "-o", "out.svg")):
        refused = cli(*command, "--db", DB)
        assert refused.code == 2
        assert refused.err.strip() == f"error: {line.strip().replace('1, 2, 3, 4, 5 and 2 more', '1, 3')}"
    assert cli("eval", "1", "3", "--db", DB).code == 0
    assert cli("report", "1", "3", "-o", "out.html", "--db", DB).code == 0


@pytest.mark.slow
def test_a_replay_by_other_code_says_so_in_one_line(cli: CommandLine) -> None:
    with duckdb.connect(DB) as connection:
        connection.execute("UPDATE runs SET code_version = '2.0.0+0ld0c0de'")
        connection.execute("DELETE FROM lm_calls WHERE run_id = 1 AND year = 2")
    for _ in range(2):
        assert "every row is the same" in cli("replay", "fixed", "--db", DB).out
        failed = cli("replay", "1", "--db", DB)
        assert failed.code == 1
        assert failed.err.startswith("error: run 1 was played by llm-economist 2.0.0+0ld0c0de and this version, ")
        assert failed.err.count("\n") == 1
        assert cli("eval", "all", "--db", DB).code == 0


@pytest.mark.slow
def test_an_interrupted_run_resumes_and_a_fork_shares_converted_years(cli: CommandLine, played: Path) -> None:
    assert cli("resume", "7", "--db", DB).code == 0
    assert cli("fork", "1", "--at", "4", "--planner-type", "SAEZ", "--db", DB).code == 0
    assert cli("eval", "all", "--db", DB).code == 0
    now, right = stored(), stored(played)
    ended = [row for row in now["years"] if row["run_id"] == 7]
    assert [row["year"] for row in ended] == list(range(6))
    same = [row for row in right["years"] if row["run_id"] == 1]
    for mine, yours in zip(ended, same, strict=True):
        for name in (*UNITS["years"], *YARDSTICKS["years"]):
            assert mine[name] == pytest.approx(yours[name], rel=1e-9), (mine["year"], name)
    shared = [row for row in now["years"] if row["run_id"] == 8 and row["year"] < 4]
    assert [row["welfare_oracle"] for row in shared] == pytest.approx([row["welfare_oracle"] for row in same[:4]])


@pytest.mark.slow
def test_examples_are_chosen_among_decisions_whose_regret_is_known(cli: CommandLine) -> None:
    query = files("pipeline").joinpath("agents", "examples.sql").read_text()
    asked = {"most": 200, "economy": "weekly", "brackets": "three", "dollars_of": ""}

    def found(question: str) -> int:
        return len(select(DB, query, {**asked, "welfare": "inverse_income", "question": question}).rows)

    assert [found(question) for question in ("ChooseLabor", "SetTaxRates")] == [0, 0]
    assert found("JudgeTaxPolicy") > 0
    assert cli("eval", "all", "--db", DB).code == 0
    assert min(found(question) for question in ("ChooseLabor", "SetTaxRates")) > 0
