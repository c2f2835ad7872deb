"""The Python interface: what it gives is what the command line gives, wherever it is called from."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import altair as alt
import dspy
import duckdb
import pytest
from support.command_line import CommandLine
from support.runs.calls_from_python import in_a_loop, in_a_thread, simulate

import llm_economist as le
from pipeline.parallel.interrupts import run_async
from pipeline.simulation import lifecycle
from pipeline.simulation.gc_pause import RARELY, rarely_collected

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/python.md"
FLAGS = ("--scenario", "bounded", "--num-agents", "4", "--max-timesteps", "4", "--two-timescale", "2", "--llm", "rules")
FLAGS += ("--strategy", "worker=cot")
TIMES = {"latency_ms", "started_at", "created_at", "finished_at", "config", "written_at"}
"""Columns that differ between two runs of the same settings: times, and the name of the database in the settings."""


def in_a_script(work: Callable[[], Any]) -> Any:
    return work()


def in_year(monkeypatch: pytest.MonkeyPatch, number: int, work: Callable[[], object]) -> None:
    """Do `work` once the year `number` of a run is stored."""
    told = lifecycle._log_year

    def on_year(year: Any) -> None:
        told(year)
        if year.year == number:
            work()

    monkeypatch.setattr(lifecycle, "_log_year", on_year)


def differing(one: str, other: str) -> dict[str, int]:
    """How many rows of each table are in one of two databases alone."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{one}' AS one (READ_ONLY); ATTACH '{other}' AS other (READ_ONLY)")
        found = {}
        for (table,) in connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'one' AND estimated_size > 0"
        ).fetchall():
            columns = [row[0] for row in connection.execute(f"DESCRIBE one.{table}").fetchall() if row[0] not in TIMES]
            listed = ", ".join(columns)
            here, there = (f"SELECT {listed} FROM {where}.{table}" for where in ("one", "other"))
            both = f"(({here}) EXCEPT ALL ({there})) UNION ALL (({there}) EXCEPT ALL ({here}))"
            found[table] = connection.execute(f"SELECT count(*) FROM ({both})").fetchall()[0][0]
        return found


@pytest.mark.slow
def test_the_rows_are_those_of_the_command_line_in_a_script_a_thread_and_a_loop(
    cli: CommandLine,
) -> None:
    assert cli("run", *FLAGS, "--db", "cli.duckdb").code == 0
    for place in (in_a_script, in_a_thread, in_a_loop):
        db = f"{place.__name__}.duckdb"
        run = place(lambda db=db: simulate(db))
        assert (run.run_id, run.status) == (1, "finished")
        found = differing("cli.duckdb", db)
        assert {"runs", "years", "decisions", "agents", "lm_calls", "programs"} <= found.keys()
        assert not any(found.values()), (place, found)
    assert cli.capsys.readouterr() == ("", ""), "nothing is printed"


def test_progress_is_one_kind_of_line_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    simulate("a.duckdb", progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert [line[:9] for line in err.splitlines()] == [f"year {n}/4 ·"[:9] for n in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("progress", "terminals", "shown"),
    [(None, "out err", True), (None, "err", False), (None, "out", False), (False, "out err", False), (True, "", True)],
)
def test_a_script_shows_progress_if_it_is_asked_to_or_its_output_is_a_terminal(
    progress: bool | None, terminals: str, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = io.StringIO(), io.StringIO()
    for stream, name in ((out, "out"), (err, "err")):
        monkeypatch.setattr(stream, "isatty", lambda name=name: name in terminals)
        monkeypatch.setattr(sys, f"std{name}", stream)
    simulate("a.duckdb", progress=progress, scenario="rational")
    assert out.getvalue() == ""
    assert bool(err.getvalue()) is shown


def test_relations_and_figures_are_what_sql_says() -> None:
    run = simulate("a.duckdb")
    simulate("a.duckdb", seed=7)

    assert (run.years.arrow().read_all().num_rows, len(run.decisions)) == (4, 16)
    query = (
        "select y.welfare, planner_share, name, (select avg(regret) from decisions where run_id = $run_id), y.rates "
    )
    query += "from years y join runs using (run_id) join yardsticks using (run_id, year) "
    (stored,) = run.sql(query + "where run_id = $run_id and year = $year", year=3).fetchall()
    assert (run.welfare, run.planner_share, run.name, run.regret, list(run.schedule.rates)) == stored
    calls = run.calls.select("call_id, run_id").fetchall()
    ours = {(call,) for call, _ in calls}
    assert {number for _, number in calls} == {1}
    assert set(run.question("slowest_calls", calls=3).select("call_id").fetchall()) <= ours, "not of the newest run"
    assert [row[0] for row in le.open("a.duckdb").runs.fetchall()] == [1, 2]

    here, there = (le.Run("a.duckdb", number).decisions.project("* EXCLUDE (run_id, call_id)") for number in (1, 2))
    assert len(here.except_(there)) > 0, "another seed is another economy"
    panel = run.panel  # noqa: F841  its rows are in memory: another run may write the file, or remove it
    Path("a.duckdb").unlink()
    assert duckdb.sql("select count(*) from panel").fetchall() == [(16,)]


def test_cautions_are_those_that_the_command_prints_at_its_end(cli: CommandLine) -> None:
    ran = cli("run", *FLAGS, "--db", "a.duckdb")
    printed = re.findall(r"^Caution, (.*)$", ran.out.split("Other welfare functions")[1], re.MULTILINE)
    found = le.open("a.duckdb").run(1).cautions
    assert " ".join(" ".join(found).split()).startswith(" ".join(printed[0].split())[:40])
    assert len(found) == ran.out.split("Other welfare functions")[1].count("Caution, ") > 0


def test_a_figure_without_a_file_is_a_chart_of_the_same_specification() -> None:
    run = simulate("a.duckdb")
    chart = run.figure("schedule")
    run.figure("schedule", "schedule.json")
    written = json.loads(Path("schedule.json").read_text())
    drawn = chart.to_dict()
    assert isinstance(chart, alt.TopLevelMixin), "notebooks show it"
    assert len(drawn["concat"]) == len(written["concat"])
    assert drawn["config"]["background"] == written["config"]["background"]


def test_nothing_can_be_written_through_a_run() -> None:
    run = simulate("a.duckdb", scenario="rational", max_timesteps=2)
    with pytest.raises(le.UsageError):
        run.sql("copy years to 'stolen.csv'")
    with pytest.raises(le.UsageError, match="no \\$other"):
        run.sql("select $run_id", other=1)
    assert not Path("stolen.csv").exists()


@pytest.mark.slow
def test_a_run_can_be_looked_at_in_its_own_process_while_it_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def look() -> None:
        run = le.open("a.duckdb").run(1)
        seen.update(years=len(run.years), status=run.status, regret=run.regret, shown=repr(run))
        seen.update(oracle=run.oracle, cautions=run.cautions, chart=run.figure("schedule"))

    in_year(monkeypatch, 1, look)
    run = simulate("a.duckdb")
    assert (seen["years"], seen["status"]) == (2, "running")
    assert "2 of 4 years" in seen["shown"]
    assert seen["regret"] != run.regret
    assert seen["oracle"] == run.oracle
    assert all(isinstance(line, str) for line in seen["cautions"])
    assert len(run.years) == 4


def test_an_interrupt_in_a_loop_leaves_a_run_that_can_be_resumed_to_the_same_rows(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patched:
        in_year(patched, 1, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt, match=r"run 1 is interrupted.*llm-economist resume 1 --db"):
            in_a_loop(lambda: simulate("a.duckdb"))
    assert signal.getsignal(signal.SIGINT) is handler
    assert le.open("a.duckdb").run(1).status == "interrupted"
    assert not [thread for thread in threading.enumerate() if thread.name == "event loop"]

    assert cli("resume", "1", "--db", "a.duckdb").code == 0
    simulate("whole.duckdb")
    assert differing("a.duckdb", "whole.duckdb")["decisions"] == 0


def test_two_threads_that_write_one_database_take_turns() -> None:
    async def both() -> list[le.Run]:
        return await asyncio.gather(
            *(asyncio.to_thread(simulate, "a.duckdb", seed=seed, scenario="rational") for seed in (1, 2))
        )

    runs = asyncio.run(both())
    assert sorted(run.run_id for run in runs) == [1, 2]
    assert {len(run.decisions) for run in runs} == {16}


def test_runs_that_end_in_the_order_in_which_they_began_leave_the_process_as_it_was() -> None:
    def state() -> Any:
        return gc.get_threshold(), logging.getLogger("dspy").level

    before = state()
    first, second = ((rarely_collected(), lifecycle._QUIET) for _ in range(2))
    for one in (*first, *second):
        one.__enter__()
    for one in first:
        one.__exit__(None, None, None)
    assert state() == (RARELY, logging.ERROR), "the second is still being played"
    for one in second:
        one.__exit__(None, None, None)
    assert state() == before


def test_context_and_errors_of_a_coroutine_reach_the_thread_it_runs_in_and_come_back() -> None:
    async def seen() -> Any:
        return dspy.settings.get("max_tokens_of_a_test")

    async def fails() -> None:
        raise le.UsageError("one line")

    def work() -> Any:
        with dspy.context(max_tokens_of_a_test=7):
            return run_async(seen())

    assert in_a_loop(work) == 7
    with pytest.raises(le.UsageError, match="one line"):
        in_a_loop(lambda: run_async(fails()))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"num_agents": 0}, r"--num-agents 0: .*greater than or equal to 1"),
        ({"agents": 3}, r"unknown setting 'agents'"),
        ({"strategy": {"king": "cot"}}, r"--strategy: unknown role 'king'"),
        ({"strategy": {"worker": "magic"}}, r"unknown strategy 'magic'"),
        ({"scenario": "democratic", "planner_type": "SAEZ"}, r"--planner-type SAEZ does not fit --scenario democratic"),
        ({"db": "no/such/folder.duckdb"}, r"--db no/such/folder.duckdb"),
    ],
)
def test_a_setting_that_cannot_be_used_is_the_command_lines_one_line(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(le.UsageError, match=line) as error:
        le.simulate(**{"llm": "rules", **settings})
    assert "\n" not in str(error.value)
    assert not list(Path().glob("*.duckdb"))


def test_what_does_not_exist_is_a_usage_error() -> None:
    run = simulate("a.duckdb", scenario="rational", max_timesteps=2)
    for wrong in (
        lambda: le.open("b.duckdb"),
        lambda: le.open("a.duckdb").run("nobody"),
        lambda: run.question("elastic"),
        lambda: run.figure("schedul", "x.svg"),
        lambda: run.figure("schedul"),
        lambda: run.figure("schedule", "x.txt"),
        lambda: le.metric("beauty"),
        lambda: le.metric("welfare", welfare="mine"),
        lambda: le.dataset("king"),
        lambda: le.dataset("worker", n=0),
    ):
        with pytest.raises(le.UsageError):
            wrong()


def test_a_run_is_shown_in_short_and_escaped() -> None:
    run = simulate("a.duckdb", name="<script>alert(1)</script>\x1b[2J", scenario="rational", max_timesteps=2)
    shown = run._repr_html_()
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert "\x1b" not in shown + repr(run)
    assert f"welfare: {run.welfare:,.0f}" in repr(run)
    Path("a.duckdb").unlink()
    assert "does not exist" in repr(le.Run("a.duckdb", 1))
    assert "does not exist" in le.Run("a.duckdb", 1)._repr_html_()
