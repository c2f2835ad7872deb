"""Arguments of the Python interface: objects where they have a meaning, and one line for anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dspy
import pytest
from support.models.fixed_answers import Fixed
from support.models.pupil import Pupil
from support.village import scripted_lm

import llm_economist as le
from signatures.worker import ChooseLabor

FEW: dict[str, Any] = {"num_agents": 2, "max_timesteps": 2, "two_timescale": 1}
ARMS = ("worker=io", "worker=cot")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: le.open(3), "open: path=3: expected str | os.PathLike[str]"),
        (lambda: le.dataset("worker", n="x"), "dataset: n='x': expected int"),
        (lambda: le.dataset("worker", n=5, num_agents="x"), "--num-agents 'x'"),
        (lambda: le.metric(3), "metric: name=3: expected str"),
        (lambda: le.metric("regret")(dspy.Example(a=1), dspy.Prediction(labor=1)), "the example (a) has no `truth`"),
        (lambda: le.optimize("worker", demos="many"), "optimize: demos='many': expected int"),
        (lambda: le.optimize("worker", budget="many", db="a.duckdb"), "optimize: budget='many': expected int"),
        (lambda: le.optimize("worker", sizes=3), "optimize: sizes=3: expected str | Sequence[int] | None"),
        (lambda: le.optimize(), "optimize: role: Missing required argument"),
        (lambda: le.compare(dspy.Predict, "worker=io"), "compare: arms=<class 'dspy.predict.predict.Predict'>"),
        (lambda: le.compare(*ARMS, seeds=0), "--seeds '0' contains no seed"),
        (lambda: le.compare(*ARMS, detect="welfare"), "--detect welfare"),
        (lambda: le.compare(*ARMS, program={"planner": dspy.Predict(ChooseLabor)}), "questions of role worker, not of"),
        (lambda: le.simulate(strategy=dspy.Predict(ChooseLabor)), "strategy=Predict: expected a dictionary by role"),
        (lambda: le.simulate(strategy=dspy.ChainOfThought), "expected a dictionary by role"),
        (lambda: le.simulate(program={"worker": 3}), "program: worker=3: expected a file or a dspy.Module"),
        (
            lambda: le.save_program(dspy.Predict(ChooseLabor), "a.json", strategy=dspy.Predict),
            "save_program: strategy=",
        ),
    ],
)
def test_an_argument_that_cannot_be_used_is_one_line(call: Callable[[], Any], told: str) -> None:
    with pytest.raises(le.UsageError, match=r"^[^\n]*$") as refused:
        call()
    assert told in str(refused.value)


def test_a_module_given_as_a_strategy_is_the_program_of_its_role() -> None:
    tuned = dspy.ChainOfThought(ChooseLabor)
    for predictor in tuned.predictors():
        predictor.signature = predictor.signature.with_instructions("Work as this test would.")
    run = le.simulate(llm="rules", strategy={"worker": tuned}, db="a.duckdb", **FEW)
    asked = "signature = 'ChooseLabor'"
    told = run.calls.filter(asked).project("strategy, prompt LIKE '%Work as this test would.%'").distinct().fetchall()
    assert told == [("cot", True)]
    with pytest.raises(le.UsageError, match="strategy and program both have a module for worker"):
        le.simulate(llm="rules", strategy={"worker": tuned}, program={"worker": tuned}, db="a.duckdb", **FEW)


@pytest.mark.slow
def test_compare_and_optimize_take_models_strategies_and_modules() -> None:
    lm = scripted_lm(Pupil())
    given: dict[str, Any] = {"llm": lm, "role_llm": {"planner": "rules"}, "strategy": {"planner": dspy.Predict}, **FEW}
    found = le.compare("setting:bracket_setting=flat", "setting:bracket_setting=three", seeds=2, db="a.duckdb", **given)
    assert "2 arms on the same people" in str(found)
    assert le.open("a.duckdb").sql("SELECT DISTINCT llm FROM runs").fetchall() == [(lm.model,)]
    tuned = le.optimize(
        "worker", optimizer="labeled", budget=60, sizes=(3, 3, 3), teacher_llm=lm, db="b.duckdb", **given
    )
    assert tuned.trials.fetchall()
    own = le.compare(*ARMS[:1], f"worker={Fixed.__module__}:Fixed", seeds=1, llm="rules", db="c.duckdb", **FEW)
    assert own.evaluations.fetchall()
