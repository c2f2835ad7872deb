"""Answers of a user's own module: a value that does not fit the question ends the run in one line."""

from typing import Any

import dspy
import numpy as np
import pytest
from support.command_line import CommandLine
from support.models import fixed_answers

import llm_economist as le
from pipeline.agents.answer_types import checked
from pipeline.agents.question import Question
from pipeline.errors import UsageError
from programs.roles.voter import BallotPaper

FIXED = "support.models.fixed_answers:Fixed"
SMALL: dict[str, Any] = {"num_agents": 3, "max_timesteps": 2, "two_timescale": 1}
NAMES = BallotPaper(("worker 1", "worker 2"))


@pytest.fixture(autouse=True)
def usual() -> Any:
    fixed_answers.ANSWERS.clear()
    yield
    fixed_answers.ANSWERS.clear()


@pytest.mark.parametrize(
    ("question", "answer", "told"),
    [
        ("ChooseLabor", {"labor": 400}, "labor=400"),
        ("ChooseLabor", {"labor": -5}, "labor=-5"),
        ("ChooseLabor", {"labor": float("nan")}, "labor=nan"),
        ("ChooseLabor", {"labor": 40.5}, "labor=40.5"),
        ("ChooseLabor", {"labor": "forty"}, "labor='forty'"),
        ("ChooseLabor", {"labor": True}, "labor=True"),
        ("ChooseLabor", {}, "labor=None"),
        ("SetTaxRates", {"rate_changes": [7, 7, 7]}, "rate_changes=[7, 7, 7]"),
        ("SetTaxRates", {"rate_changes": [10]}, "rate_changes=[10]"),
        ("SetTaxRates", {"rate_changes": "up"}, "rate_changes='up'"),
        ("JudgeTaxPolicy", {"satisfied": "perhaps"}, "satisfied='perhaps'"),
        ("CastVote", {"vote": 99}, "vote=99"),
        ("CastVote", {"vote": "worker 3"}, "vote='worker 3'"),
        ("WritePersona", {"persona": 7}, "persona=7"),
    ],
)
def test_an_answer_of_the_wrong_type_is_named_in_one_line(question: str, answer: dict[str, Any], told: str) -> None:
    ballot = NAMES if question == "CastVote" else None
    with pytest.raises(UsageError, match=r"^mine answered [^\n]*$") as refused:
        checked(dspy.Prediction(**answer), Question(question, {}, 0, ballot=ballot), 3, "mine")
    assert told in str(refused.value)


@pytest.mark.parametrize("answer", [None, 40, {"labor": 40}, "40"])
def test_an_answer_that_is_no_prediction_is_named_in_one_line(answer: Any) -> None:
    with pytest.raises(UsageError, match=r"expected a dspy\.Prediction with labor"):
        checked(answer, Question("ChooseLabor", {}, 0), 3, "mine")


@pytest.mark.parametrize(
    ("question", "answer", "typed"),
    [
        ("ChooseLabor", {"labor": np.int64(41)}, {"labor": 41}),
        ("ChooseLabor", {"labor": "41 hours"}, {"labor": 41}),
        ("SetTaxRates", {"rate_changes": [10, 0, np.int64(-20)]}, {"rate_changes": (10, 0, -20)}),
        ("CastVote", {"vote": "abstain"}, {"vote": "abstain"}),
        ("StandForOffice", {"stand": False}, {"stand": False, "rate_changes": None}),
    ],
)
def test_an_answer_that_fits_gets_the_types_of_the_question(
    question: str, answer: dict[str, Any], typed: dict[str, Any]
) -> None:
    ballot = NAMES if question == "CastVote" else None
    found = checked(dspy.Prediction(**answer), Question(question, {}, 0, ballot=ballot), 3, "mine")
    assert {name: found[name] for name in typed} == typed


@pytest.mark.slow
def test_a_run_and_a_game_end_in_one_line_and_store_nothing_wrong(cli: CommandLine) -> None:
    fixed_answers.ANSWERS["labor"] = dspy.Prediction(labor=400)
    flags = ("--num-agents", "3", "--max-timesteps", "2", "--two-timescale", "1", "--llm", "rules")
    result = cli("run", *flags, "--strategy", f"worker={FIXED}", "--db", "a.duckdb")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert f"strategy {FIXED} of role worker answered ChooseLabor with labor=400" in result.err
    assert cli.sql("SELECT count(*) AS n FROM decisions", "a.duckdb") == [{"n": 0}]
    with pytest.raises(le.UsageError, match="labor=400"):
        le.simulate(llm="rules", strategy={"worker": fixed_answers.Fixed}, db="b.duckdb", **SMALL)
    game = le.Stackelberg(worker=fixed_answers.Fixed, planner="rules", voter="rules", persona="rules", **SMALL)
    with pytest.raises(le.UsageError, match="the worker's module answered ChooseLabor with labor=400"):
        game(seed=1)


def test_a_module_that_answers_plays_on() -> None:
    run = le.simulate(llm="rules", strategy={"worker": FIXED}, db="a.duckdb", **SMALL)
    assert run.sql("SELECT DISTINCT labor, fallback FROM decisions").fetchall() == [(40.0, False)]
