"""`eval` completes the yardsticks of older files; other commands say what is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import duckdb
import pytest
from support.command_line import CommandLine
from support.stores.older_files import (
    DB,
    UNITS,
    YARDSTICKS,
    degrade,
    stored,
    the_same,
    version,
)

from pipeline.store.query import select

pytestmark = pytest.mark.slow  # files are written, degraded and brought up to date: a minute and a half


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
