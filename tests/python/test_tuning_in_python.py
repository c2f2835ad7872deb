"""Tuning and comparing from Python: datasets, metrics, saved programs, `compare` and `optimize`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy
import pytest
from support.command_line import CommandLine
from support.runs.calls_from_python import in_a_loop, simulate

import llm_economist as le
from pipeline.config import ROLES
from signatures.planner import SetTaxRates
from signatures.worker import ChooseLabor


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


@pytest.mark.slow
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
