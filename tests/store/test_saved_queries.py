"""Saved questions: all of them run, the answers are right where the answer is known, and they are easy to ask."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from support.command_line import CommandLine

from evals.sql import saved_queries
from pipeline.errors import UsageError
from pipeline.store.query import ask
from pipeline.store.writer import Store

DB = "traces.duckdb"
NAMES = sorted(saved_queries.questions())
FEW = ("--num-agents", "6", "--max-timesteps", "12", "--two-timescale", "4", "--llm", "rules")


def answer(name: str, *given: str, db: str = DB) -> list[dict[str, Any]]:
    question = saved_queries.question(name)
    values, lookups = question.bind(given)
    with ask(db, question.sql, values, lookups=lookups) as rows:
        return [dict(zip(rows.columns, row, strict=True)) for row in rows.rows()]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A store with a bounded, a rational and a democratic run, in this order."""
    from rich.console import Console

    from evals.run.command import run

    folder = tmp_path_factory.mktemp("played")
    common = {"db": str(folder / DB), "log_dir": str(folder), "llm": "rules", "num_agents": 6, "max_timesteps": 12}
    for settings in ({"scenario": "bounded", "prompt_algo": "cot"}, {}, {"scenario": "democratic", "platforms": True}):
        assert run({**common, "two_timescale": 4, **settings}, Console(file=io.StringIO())) == 0
    return (folder / DB).read_bytes()


@pytest.fixture
def runs(nobody_pays: None, played: bytes) -> None:
    Path(DB).write_bytes(played)


# -- the files -------------------------------------------------------------------------------------------------------


def test_the_saved_queries_are_listed() -> None:
    assert len(NAMES) >= 12


@pytest.mark.parametrize("name", NAMES)
def test_a_question_explains_itself_and_declares_what_it_uses(name: str) -> None:
    question = saved_queries.questions()[name]
    assert question.help[0].endswith("?")
    code = re.sub(r"--.*", "", question.sql)
    assert set(re.findall(r"\$(\w+)", code)) == {parameter.name for parameter in question.parameters}
    question.bind([])  # the defaults are of their types


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("runs")
def test_a_question_has_an_answer(name: str) -> None:
    has_run = any(parameter.name == "run_id" for parameter in saved_queries.questions()[name].parameters)
    answers = [answer(name, f"run_id={run}") for run in (1, 3)] if has_run else [answer(name)]
    empty = {"retries", "survey"}  # `rules` does not fail, and these runs have no survey
    if name == "votes_by_income":
        answers = answers[1:]  # the bounded run has no elections
    assert all(answers) != (name in empty)


# -- answers that are known ------------------------------------------------------------------------------------------


def world(
    decisions: list[dict[str, Any]],
    rates: list[list[float]],
    wages: list[float],
    *,
    thresholds: tuple[float, ...] = (0.0, 90000.0),
    calls: list[dict[str, Any]] | None = None,
) -> None:
    """One run in the store, with these decisions, the rates of each year and the workers' wages."""
    whole = {
        "labor": 40.0,
        "income": 50000.0,
        "tax": 0.0,
        "rebate": 0.0,
        "utility": 1000.0,
        "best_labor": 40.0,
        "best_utility": 1000.0,
        "regret": 0.0,
        "satisfied": None,
        "fallback": False,
        "call_id": None,
    }
    with Store(DB) as store:
        run = store.start_run({"name": "by hand"})
        changed = [year > 0 and rates[year] != rates[year - 1] for year in range(len(rates))]
        store.write(
            {
                "agents": [
                    {"run_id": run, "agent": i, "wage": wage, "occupation": f"job {i % 2}"}
                    for i, wage in enumerate(wages)
                ],
                "decisions": [{"run_id": run, **whole, **row} for row in decisions],
                "lm_calls": [{"run_id": run, "strategy": "io", "status": "ok", **row} for row in calls or []],
                "years": [
                    {
                        "run_id": run,
                        "year": year,
                        "thresholds": list(thresholds),
                        "rates": law,
                        "rate_changes": [1] * len(law) if changed[year] else None,
                        "leader": 1,
                        "welfare": float(year),
                    }
                    for year, law in enumerate(rates)
                ],
            }
        )


def test_elasticity_finds_the_elasticity_that_the_answers_have() -> None:
    """Incomes that follow z = k * (1 - t)^0.4, at rates that differ by bracket and year."""
    rates = [[20.0, 50.0], [40.0, 30.0], [10.0, 60.0], [30.0, 30.0]]
    poor = [2000.0 * agent for agent in range(5, 15)]
    rich = [20000.0 * agent for agent in range(10, 20)]
    decisions = [
        {"year": year, "agent": agent, "income": scale * (1 - law[0 if agent < 10 else 1] / 100) ** 0.4}
        for year, law in enumerate(rates)
        for agent, scale in enumerate(poor + rich)
    ]
    world(decisions, rates, [scale / 2000 for scale in poor + rich])
    found = answer("elasticity", "groups=2")
    assert [row["wage_group"] for row in found] == ["all", "1", "2"]
    assert [row["elasticity"] for row in found] == [0.4, 0.4, 0.4]
    assert [row["changes"] for row in found] == [60, 30, 30]


def test_elasticity_is_zero_if_no_one_responds() -> None:
    rates = [[20.0, 50.0], [40.0, 30.0]]
    world(
        [{"year": year, "agent": agent, "income": 9000.0 * agent + 100} for year in (0, 1) for agent in range(20)],
        rates,
        [float(agent) for agent in range(20)],
    )
    assert answer("elasticity")[0]["elasticity"] == 0


def test_hours_are_compared_on_both_sides_of_the_largest_change() -> None:
    rates = [[10.0, 20.0]] * 3 + [[60.0, 20.0]] * 3 + [[61.0, 20.0]] * 2
    hours = {0: 99.0, 1: 50.0, 2: 50.0, 3: 30.0, 4: 30.0, 5: 99.0, 6: 0.0, 7: 0.0}
    decisions = [
        {"year": year, "agent": agent, "labor": hours[year] + agent} for year in range(8) for agent in range(10)
    ]
    world(decisions, rates, [float(10 + agent) for agent in range(10)])
    first, *_, last = answer("hours_by_wage_decile", "window=2")
    assert (first["decile"], first["year_of_change"], first["mean_wage"]) == (1, 3, 10)
    assert (first["rate_before"], first["rate_after"]) == (10, 60)
    assert (first["hours_before"], first["hours_after"], first["change"]) == (50, 30, -20)
    assert (last["decile"], last["hours_before"], last["hours_after"]) == (10, 59, 39)
    (pooled,) = answer("hours_by_wage_decile", "year=6", "window=9", "deciles=1")
    assert (pooled["hours_before"], pooled["hours_after"]) == ((30 + 30 + 99) / 3 + 4.5, 4.5)  # within the schedules


def test_bunching_counts_incomes_near_the_edge() -> None:
    near = [{"year": 0, "agent": 0, "income": 90000.0 + d} for d in (-900, -500, 0, 500, 900, 1000)]
    beside = [{"year": 0, "agent": 0, "income": 90000.0 + d} for d in (-2900, -1100, 1500, 3000)]
    far = [{"year": 0, "agent": 0, "income": 20000.0}]
    world([*near, *beside, *far], [[10.0, 40.0]], [40.0])
    (edge,) = answer("bunching", "band=1000")
    assert (edge["edge"], edge["decisions"], edge["near"], edge["expected"], edge["ratio"]) == (90000, 11, 6, 2, 3)
    assert edge["mean_step_of_rate"] == 30


def test_transfers_say_who_pays() -> None:
    decisions = [
        {"year": year, "agent": agent, "tax": 3000.0 * agent, "rebate": 3000.0 * 2.5}
        for year in range(2)
        for agent in range(6)
    ]
    world(decisions, [[10.0, 40.0], [20.0, 40.0]], [float(10 + agent) for agent in range(6)])
    first, second = answer("transfers")
    assert (first["poor"], first["middle"], first["rich"]) == (6000, 0, -6000)
    assert (first["tax_year"], second["tax_year"], second["from_year"]) == (0, 1, 1)
    assert (second["leader"], second["leader_tercile"], second["leader_itself"]) == (1, 1, 4500)


def test_the_worst_calls_come_first_with_their_prompts() -> None:
    calls = [{"call_id": i, "year": 0, "agent": i, "prompt": f"prompt {i}", "response": f"reply {i}"} for i in range(4)]
    decisions = [
        {"year": 0, "agent": i, "regret": regret, "call_id": i} for i, regret in enumerate([5.0, 500.0, 50.0, 0.0])
    ]
    world(
        [*decisions, {"year": 1, "agent": 9, "regret": 9000.0}], [[1.0, 2.0]] * 2, [10.0] * 4, calls=calls
    )  # a decision without a call is nobody's prompt
    found = answer("worst_calls", "calls=2")
    assert [(row["call_id"], row["regret"], row["prompt"], row["response"]) for row in found] == [
        (1, 500, "prompt 1", "reply 1"),
        (2, 50, "prompt 2", "reply 2"),
    ]


def test_the_dissatisfied_are_counted_by_wage() -> None:
    decisions = [{"year": 0, "agent": i, "satisfied": i < 8, "tax": 100.0 * i} for i in range(10)]
    world(decisions, [[10.0, 40.0]], [float(10 + i) for i in range(10)])
    found = answer("dissatisfied")
    assert [(row["wage_fifth"], row["satisfied"]) for row in found] == [(i, i < 5) for i in range(1, 6)]
    assert (found[4]["share_of_fifth"], found[4]["mean_wage"], found[4]["mean_net_transfer"]) == (1, 18.5, -850)


def test_the_learning_curve_is_by_year_of_the_tax_year() -> None:
    rates = [[10.0, 20.0]] * 2 + [[30.0, 20.0]] * 2
    regrets = [400.0, 300.0, 200.0, 100.0]
    world([{"year": i, "agent": 0, "regret": regret} for i, regret in enumerate(regrets)], rates, [10.0])
    assert [(row["year_of_tax_year"], row["mean_regret"]) for row in answer("learning_curve")] == [(0, 300), (1, 200)]


@pytest.mark.usefixtures("runs")
def test_votes_by_income_add_up_within_a_tercile() -> None:
    found = answer("votes_by_income", "run_id=3")
    for year in {row["year"] for row in found}:
        for tercile in ("poor", "middle", "rich"):
            shares = [row[tercile] for row in found if row["year"] == year]
            assert sum(shares) == pytest.approx(1, abs=0.01) or not any(shares)  # all of them may have abstained


@pytest.mark.slow
@pytest.mark.usefixtures("runs")
def test_regret_by_group_can_be_asked_by_another_group() -> None:
    by_wage = answer("regret_by_group", "run_id=1")
    assert [row["people"] for row in by_wage] == [f"fifth {i}" for i in range(1, 6)]
    assert sum(row["decisions"] for row in by_wage) == sum(
        row["decisions"] for row in answer("regret_by_group", "run_id=1", "by=sex")
    )
    with pytest.raises(UsageError, match="expected wage, occupation, sex or utility_type"):
        answer("regret_by_group", "by=shoe size")


# -- asking them on the command line ---------------------------------------------------------------------------------


def test_the_list_has_names_help_and_parameters(cli: CommandLine) -> None:
    out = cli("sql", "--list").out
    for question in saved_queries.questions().values():
        assert f"\n{question.name}\n  {question.help[0]}" in f"\n{out}"
        assert all(f"--param {parameter}" in out for parameter in question.parameters)
    listed = json.loads(cli("sql", "--list", "--json").out)
    assert [one["name"] for one in listed] == NAMES


@pytest.mark.slow
@pytest.mark.usefixtures("runs")
def test_a_question_is_asked_by_name(cli: CommandLine) -> None:
    latest = json.loads(cli("sql", "cost_by_year", "--db", DB, "--json").out)
    assert {row["role"] for row in latest} >= {"persona", "voter", "worker"}  # of the democratic run, the last
    other = json.loads(cli("sql", "cost-by-year", "--db", DB, "--param", "run_id=2", "--json").out)
    assert {row["role"] for row in other} == {"planner", "worker"}
    pooled = json.loads(cli("sql", "cost_by_year", "--db", DB, "--param", "years_per_row=100", "--json").out)
    assert sum(row["calls"] for row in pooled) == sum(row["calls"] for row in latest)
    assert [row["from_year"] for row in pooled] == [0] * len(pooled)


WRONG = {
    "an unknown name": (["transferz"], "did you mean transfers?"),
    "a table's name": (["runs"], "no saved query 'runs'"),
    "an unknown parameter": (["transfers", "--param", "runid=1"], "transfers has no parameter runid; it has: run_id"),
    "not a number": (["transfers", "--param", "run_id=last"], "--param run_id=last: expected INTEGER"),
    "SQL as a number": (["transfers", "--param", "run_id=1 OR 1=1"], "expected INTEGER"),
    "no value": (["transfers", "--param", "run_id"], "expected NAME=VALUE"),
    "a missing parameter": (["select $x"], "the query needs a value for $x: --param x=VALUE"),
    "one too many": (["select 1", "--param", "x=1"], "the query has no $x"),
    "nothing": ([], "give a SELECT, a saved query"),
    "an unknown format": (["select 1", "--format", "excel"], "expected table, markdown, csv, json or parquet"),
    "two formats": (["select 1", "--json", "--format", "csv"], "choose one"),
    "Parquet on the screen": (["select 1", "--format", "parquet"], "needs --output FILE"),
    "a folder": (["select 1", "--output", "."], "is a folder"),
    "no folder": (["select 1", "--output", "no/such/x.csv"], "cannot be written"),
    "the database itself": (["select 1 as a", "--output", f"./{DB}"], "is the database itself"),
}


@pytest.mark.first_cases(9)
@pytest.mark.parametrize(("args", "said"), WRONG.values(), ids=WRONG)
@pytest.mark.usefixtures("runs")
def test_what_cannot_be_asked_is_said_in_one_line(cli: CommandLine, args: list[str], said: str) -> None:
    before = Path(DB).read_bytes()
    result = cli("sql", *args, "--db", DB)
    assert result.code == 2
    assert said in result.err
    assert result.err.count("\n") == 1
    assert (result.out, Path(DB).read_bytes() == before) == ("", True)
    assert [path.name for path in Path().iterdir()] == [DB]


@pytest.mark.usefixtures("runs")
def test_parameters_of_a_free_query_are_values(cli: CommandLine) -> None:
    hostile = "x'; DROP TABLE runs; --"
    query = "select $a as a, $b + 1 as b, $c as c, count(*) as n from runs where name <> $a"
    result = cli("sql", query, "--db", DB, "--json", "--param", f"a={hostile}", "--param", "b=2", "--param", "c=NULL")
    assert json.loads(result.out) == [{"a": hostile, "b": 3, "c": None, "n": 3}]


@pytest.mark.usefixtures("runs")
def test_a_query_comes_from_standard_input_with_its_own_parameters(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "-- Years of a run.\n-- param: run_id INTEGER = latest run\nselect $run_id as run, count(*) as n from years\n"
    )
    for args, run in ((), 3), (("--param", "run_id=2"), 2):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert json.loads(cli("sql", "-", "--db", DB, "--json", *args).out) == [{"run": run, "n": 36}]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"-- param: run_id INT\nselect 1")))
    assert "expected -- param: NAME" in cli("sql", "-", "--db", DB).err


@pytest.mark.usefixtures("runs")
def test_an_empty_answer_says_so(cli: CommandLine) -> None:
    result = cli("sql", "dissatisfied", "--param", "run_id=2", "--db", DB)
    assert result.code == 0
    assert "no rows" in result.err
    assert "wage_fifth" in result.out


@pytest.mark.slow
@pytest.mark.usefixtures("runs")
def test_runs_and_show_read_the_views(cli: CommandLine) -> None:
    listed = json.loads(cli("runs", "--db", DB, "--json").out)
    assert [row["scenario"] for row in listed] == ["bounded", "rational", "democratic"]
    assert all(row["years_played"] == 12 and row["mean_regret"] > 0 for row in listed)
    (worst,) = answer("worst_calls", "run_id=3", "calls=1")
    page = cli("show", str(worst["call_id"]), "--db", DB).out
    assert worst["prompt"] in page
    assert f"regret {worst['regret']:,.0f} dollars" in page
    planner = cli.sql("select planner_call_id as id from years where run_id = 2 and planner_call_id is not null", DB)
    page = cli("show", str(planner[0]["id"]), "--db", DB).out
    assert "outcome of the schedule" in page
    assert "if every worker best-responded" in page


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.slow
@pytest.mark.usefixtures("runs")
def test_an_output_file_is_whole_and_its_suffix_chooses_the_format(cli: CommandLine) -> None:
    query = "select run_id, year, rates, welfare from years order by all"
    for name in ("years.csv", "years.json", "years.parquet", "years.md", "years.txt"):
        result = cli("sql", query, "--db", DB, "--output", name)
        assert (result.code, result.out, result.err) == (0, "", "")
    expected = cli.sql(query, DB)
    assert json.loads(Path("years.json").read_text()) == expected
    assert [float(row["welfare"]) for row in read_csv(Path("years.csv").read_text())] == [
        row["welfare"] for row in expected
    ]
    import pyarrow.parquet as pq

    assert pq.read_table("years.parquet").to_pylist() == expected
    assert Path("years.md").read_text().count("\n") == 2 + 36
    assert "welfare" in Path("years.txt").read_text()


@pytest.mark.usefixtures("runs")
def test_a_query_that_fails_leaves_an_older_output_alone(cli: CommandLine) -> None:
    Path("years.csv").write_text("precious")
    assert cli("sql", "select no_such_column from years", "--db", DB, "--output", "years.csv").code == 2
    assert Path("years.csv").read_text() == "precious"
    assert sorted(path.name for path in Path().iterdir()) == [DB, "years.csv"]
