"""The Python interface: what it gives is what the command line gives, wherever it is called from."""

from __future__ import annotations

import asyncio
import gc
import importlib
import io
import json
import logging
import os
import re
import signal
import subprocess
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
from support.models.pupil import Pupil
from support.pages import blocks
from support.village import scripted_lm

import llm_economist as le
from pipeline.config import ROLES
from pipeline.parallel.interrupts import run_async
from pipeline.simulation import lifecycle
from pipeline.simulation.gc_pause import RARELY, rarely_collected
from signatures.planner import SetTaxRates
from signatures.worker import ChooseLabor

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/python.md"
SETTINGS: dict[str, Any] = {
    "scenario": "bounded",
    "num_agents": 4,
    "max_timesteps": 4,
    "two_timescale": 2,
    "llm": "rules",
    "strategy": {"worker": "cot"},
}
FLAGS = ("--scenario", "bounded", "--num-agents", "4", "--max-timesteps", "4", "--two-timescale", "2", "--llm", "rules")
FLAGS += ("--strategy", "worker=cot")
TIMES = {"latency_ms", "started_at", "created_at", "finished_at", "config", "written_at"}
"""Columns that differ between two runs of the same settings: times, and the name of the database in the settings."""


def simulate(db: str, **other: Any) -> le.Run:
    return le.simulate(**{**SETTINGS, "db": db, **other})


def in_a_thread(work: Callable[[], Any]) -> Any:
    """What `work` returns or raises in another thread than the main one."""
    return asyncio.run(asyncio.to_thread(work))


def in_a_loop(work: Callable[[], Any]) -> Any:
    """What `work` returns or raises where an event loop is running, as in a notebook."""

    async def main() -> Any:
        return work()

    return asyncio.run(main())


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


# -- tuning -----------------------------------------------------------------------------------------------------


def test_a_dataset_is_the_same_wherever_it_is_made_and_shares_no_economy_between_its_parts() -> None:
    here = le.dataset("worker", n=20, num_agents=3)
    assert (len(here.train), len(here.dev), len(here.test)) == (6, 4, 10)
    assert in_a_loop(lambda: le.dataset("worker", n=20, num_agents=3)).hash == here.hash
    seeds = [{example.economy_seed for example in part} for part in (here.train, here.dev, here.test)]
    assert not (seeds[0] & seeds[1])
    assert not (seeds[1] & seeds[2])
    assert not (seeds[0] & seeds[2])


def test_the_best_hours_score_one_and_no_answer_zero() -> None:
    score = le.metric("regret")
    for example in le.dataset("worker", n=5, num_agents=3).test:
        assert score(example, dspy.Prediction(labor=example.labor)) > 0.999
        assert score(example, dspy.Prediction()) == 0


@pytest.mark.parametrize("make", [dspy.Predict, dspy.ChainOfThought])
def test_a_tuned_module_is_saved_so_that_a_run_asks_with_it(make: Any) -> None:
    module = make(ChooseLabor)
    for predictor in module.predictors():
        predictor.signature = predictor.signature.with_instructions("Work as a worker of this test would.")
    le.save_program(module, "worker.json")
    strategy = json.loads(Path("worker.json").read_text())["strategy"]
    run = simulate("a.duckdb", strategy={"worker": strategy}, program={"worker": "worker.json"})
    asked = run.calls.filter("role = 'worker'").aggregate("signature, bool_and(prompt LIKE '%of this test would%')")
    assert dict(asked.fetchall()) == {"ChooseLabor": True, "JudgeTaxPolicy": False}


def test_a_module_that_fits_no_role_is_refused() -> None:
    other = dspy.Predict("question -> answer")
    for wrong in (other, dspy.ReAct(ChooseLabor, tools=[]), "worker"):
        with pytest.raises(le.UsageError, match="save_program"):
            le.save_program(wrong, "worker.json")
    with pytest.raises(le.UsageError, match="unknown strategy 'magic'"):
        le.save_program(dspy.Predict(ChooseLabor), "worker.json", strategy="magic")
    assert not Path("worker.json").exists()
    le.save_program(dspy.Predict(SetTaxRates), "planner.json", strategy="io")
    assert json.loads(Path("planner.json").read_text())["role"] in ROLES


# -- the module and its page ------------------------------------------------------------------------------------


def test_the_import_loads_nothing_heavy() -> None:
    code = "import sys; before = set(sys.modules); import llm_economist; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "llm_economist" in loaded.stdout.split()
    heavy = {"dspy", "duckdb", "numpy", "pydantic", "rich", "pyarrow", "asyncio", "evals", "pipeline", "programs"}
    assert not heavy & set(loaded.stdout.split())


def test_every_public_name_is_loaded_from_where_the_type_checker_looks() -> None:
    assert sorted(le.__all__) == sorted(le._FOUND_IN) == dir(le)
    for name, place in le._FOUND_IN.items():
        module, _, renamed = place.partition(":")
        assert getattr(le, name) is getattr(importlib.import_module(module), renamed or name)
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        le.simulat  # noqa: B018


def test_the_page_names_every_public_name_and_no_other() -> None:
    named = set(re.findall(r"\ble\.(\w+)", PAGE.read_text()))
    assert named == set(le.__all__)
    methods = {name for kind in (le.Run, le.Database) for name in vars(kind) if not name.startswith("_")}
    in_examples = "\n".join(blocks(PAGE, "python"))
    assert {name for name in methods if not re.search(rf"\b(?:run|study)\.{name}\b", in_examples)} <= {"path"}


@pytest.mark.slow
def test_the_example_of_the_readme_runs_on_a_model_that_can_be_taught() -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    lm = scripted_lm(Pupil())
    with dspy.context(lm=lm):
        exec(compile(code, "README.md", "exec"), {"lm": lm})
    assert json.loads(Path("worker.json").read_text())["strategy"] == "cot"


@pytest.mark.slow
def test_the_examples_of_the_page_run_in_order() -> None:
    names: dict[str, Any] = {}
    for number, code in enumerate(blocks(PAGE, "python")):
        exec(compile(code, f"docs/python.md, example {number}", "exec"), names)
    assert Path("run.html").exists()
    assert Path("schedule.svg").exists()


# -- comparing and tuning ---------------------------------------------------------------------------------------


def test_compare_returns_what_the_command_prints(cli: CommandLine) -> None:
    few = {"num_agents": 2, "max_timesteps": 2, "two_timescale": 2, "llm": "rules"}
    found = le.compare("worker=io", "worker=cot", seeds=[1, 2], db=Path("a.duckdb"), **few)
    args = ("--num-agents", "2", "--max-timesteps", "2", "--two-timescale", "2", "--llm", "rules")
    printed = cli("compare", "worker=io", "worker=cot", "--seeds", "1,2", *args, "--db", "b.duckdb")
    assert printed.code == 0
    figures = [line.split() for line in printed.out.splitlines() if " .. " in line]
    assert figures == [line.split() for line in str(found).splitlines() if " .. " in line] != []
    columns = "metric, arm, seed, score, low, high"
    rows = cli.sql(f"SELECT {columns} FROM evaluations ORDER BY ALL", "b.duckdb")
    assert found.evaluations.select(columns).order("ALL").fetchall() == [tuple(row.values()) for row in rows]
    with pytest.raises(le.UsageError, match="given twice"):
        le.compare("worker=io", "worker=io", db="a.duckdb", **few)


@pytest.mark.slow
def test_optimize_writes_the_program_of_each_role() -> None:
    few = {"num_agents": 2, "max_timesteps": 2, "two_timescale": 2, "llm": "rules", "db": Path("a.duckdb")}
    one = le.optimize("worker", optimizer="labeled", budget=60, sizes=(4, 4, 4), **few)
    assert one.programs == {"worker": "worker.io.json"}
    assert one.trials.fetchall()
    both = le.optimize("worker,planner", budget=1500, sizes="3,3,4", output="{role}.json", **few)
    assert both.programs == {"worker": "worker.json", "planner": "planner.json"}
    assert all(Path(path).exists() for path in both.programs.values())
    assert "Games compared" in str(both)
    with pytest.raises(le.UsageError, match="choose one of"):
        le.optimize("boss", **few)
