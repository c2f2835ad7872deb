"""Metrics by name: their scores and feedback, and how optimizers call them."""

from __future__ import annotations

import time

import dspy
import numpy as np
import pytest
from dspy.teleprompt.bootstrap_trace import FailedPrediction

from evals.datasets.exact_answers import bare
from evals.datasets.simulated import Dataset, sampled
from evals.metrics.exploration import trial, tried_here
from evals.metrics.labor import Work
from evals.metrics.registry import METRICS, as_dspy, metric, missed
from pipeline.config import build
from pipeline.economy.welfare import WELFARE
from signatures.texts.numbers import money
from signatures.texts.worker import WorkerRecord
from signatures.types import TaxSchedule

LABEL = ("ChooseLabor", "SetTaxRates", "CastVote")


@pytest.fixture(scope="module")
def data() -> dict[str, Dataset]:
    questions = (*LABEL, "WritePersona")
    return {question: sampled(question, build({}), sizes=(12, 0, 0), seed=5) for question in questions}


@pytest.mark.parametrize("name", ["regret", "information", "welfare", "vote_quality"])
def test_the_label_scores_one(data: dict[str, Dataset], name: str) -> None:
    for example in data[METRICS[name].question].train:
        score, feedback = METRICS[name].judge(example, dspy.Prediction(**bare(example).labels()))
        assert score == 1, feedback
        assert feedback


def test_feedback_names_the_exact_regret_in_dollars(data: dict[str, Dataset]) -> None:
    for example in data["ChooseLabor"].train:
        for hours in (0, 40, 100):
            answer = dspy.Prediction(labor=hours)
            found = missed(example, answer)
            score, feedback = METRICS["regret"].judge(example, answer)
            assert score == found.score
            assert hours == example.labor or f"{example.labor} would have left you {money(found.regret)}" in feedback


def test_exploring_scores_the_share_of_what_could_be_learned(data: dict[str, Dataset]) -> None:
    explored = 0
    for example in data["ChooseLabor"].train:
        work = Work.of(example.truth)
        tried = [row.hours for row in WorkerRecord.parse(example.record).by_hours if row.years_here]
        known = max(work.surplus()[[0, *map(round, tried)]])
        could = work.surplus().max() - known
        scores = [METRICS["information"].judge(example, dspy.Prediction(labor=hours)).score for hours in range(101)]
        if example.phase == "exploit" or could <= 1:
            regret = [METRICS["regret"].judge(example, dspy.Prediction(labor=hours)).score for hours in range(101)]
            assert scores == regret
        else:
            explored += 1
            assert scores == pytest.approx(np.maximum(work.surplus() - known, 0) / could)
            assert scores[example.labor] == 1
            assert all(scores[round(hours)] == 0 for hours in tried), "hours in the record teach nothing"
    assert explored >= 3


def test_a_trial_is_worth_the_rise_in_the_best_utility_known() -> None:
    untaxed = Work(20.0, TaxSchedule(thresholds=(0,), rates=(0,)))
    utility = untaxed.surplus()
    first = trial(untaxed, [], 30)
    assert (first.known, first.learned, first.best) == (0, utility[30], utility[42])
    worse = trial(untaxed, [40.0], 20)
    assert worse.score == 0
    assert "nothing better" in str(worse)
    assert not trial(untaxed, [42], 60).has_something_to_learn
    assert METRICS["information"].question == "ChooseLabor"
    with pytest.raises(ValueError, match="expected a worker's record"):
        tried_here("hours")


def test_the_planner_share_says_exactly_what_the_score_cuts_off(data: dict[str, Dataset]) -> None:
    for example in data["SetTaxRates"].train:
        worst = dspy.Prediction(rate_changes=(-20, -20, -20))
        score, feedback = METRICS["planner_share"].judge(example, worst)
        assert 0 <= score <= 1
        assert "ORACLE (" in feedback
        assert "% of " in feedback or "gains too little" in feedback


def test_a_planner_is_judged_by_its_own_objective_by_default() -> None:
    example = sampled("SetTaxRates", build({"welfare": "utilitarian"}), sizes=(1, 0, 0), seed=1).train[0]
    best = dspy.Prediction(rate_changes=example.rate_changes)
    assert max(example.rate_changes) <= 0, "taxes cost output"
    assert METRICS["welfare"].judge(example, best).score == 1
    assert metric("welfare", welfare="utilitarian").judge(example, best) == METRICS["welfare"].judge(example, best)
    assert metric("welfare", welfare="inverse_income").judge(example, best).score < 1


@pytest.mark.parametrize("name", WELFARE)
def test_a_planner_is_judged_by_any_welfare_function(data: dict[str, Dataset], name: str) -> None:
    example = data["SetTaxRates"].train[0]
    scores = [
        metric("welfare", welfare=name).judge(example, dspy.Prediction(rate_changes=change)).score
        for change in ((20, 20, 20), (0, 0, 0), (-20, -20, -20))
    ]
    assert all(0 <= score <= 1 for score in scores)
    assert len(set(scores)) > 1


def test_a_persona_scores_the_share_of_its_checks(data: dict[str, Dataset]) -> None:
    example = data["WritePersona"].train[0]
    good = (
        f"You are a {example.age}-year-old {'man' if example.sex == 'Male' else 'woman'} in the group "
        f"{example.occupation.lower()}. You keep bees, sing in a choir and owe nobody a cent."
    )
    assert METRICS["fidelity"].judge(example, dspy.Prediction(persona=good)).score == 1
    clone = example.truth["neighbours"][0]
    score, feedback = METRICS["fidelity"].judge(example, dspy.Prediction(persona=clone))
    assert score < 1
    assert "neighbour's persona" in feedback


BAD = {
    "nothing": None,
    "an empty prediction": dspy.Prediction(),
    "a failed one": FailedPrediction(completion_text="???"),
    "none of its type": dspy.Prediction(labor=140, rate_changes=(5, 0, 0), vote=7, persona=3, welfares=None),
    "another shape": dspy.Prediction(labor="many", rate_changes=(10,), vote="worker 99", persona=None),
    "true": dspy.Prediction(labor=True, rate_changes=True, vote=True, persona=True),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("name", METRICS)
def test_an_unusable_answer_scores_zero_and_names_what_was_expected(
    data: dict[str, Dataset], case: str, name: str
) -> None:
    question = METRICS[name].question
    example = data[question].train[0] if question in data else dspy.Example(truth={})
    score, feedback = METRICS[name].judge(example, BAD[case])
    assert score == 0
    assert "expected" in feedback or "could not be played" in feedback


def test_metrics_of_single_answers_are_cheap(data: dict[str, Dataset]) -> None:
    answers = {
        "regret": dspy.Prediction(labor=60),
        "vote_quality": dspy.Prediction(vote="abstain"),
        "fidelity": dspy.Prediction(persona="You are a 30-year-old woman. You sew shirts and save every cent you can."),
    }
    for name, answer in answers.items():
        examples, judge = data[METRICS[name].question].train, METRICS[name].judge
        judge(examples[0], answer)
        best = min(_seconds(judge, example, answer) for example in examples for _ in range(3))
        assert best < 0.002, name


def _seconds(judge: object, *arguments: object) -> float:
    started = time.process_time()
    judge(*arguments)  # type: ignore[operator]
    return time.process_time() - started


def test_optimizers_get_what_each_of_them_takes(data: dict[str, Dataset]) -> None:
    example = data["ChooseLabor"].train[0]
    best, idle = dspy.Prediction(labor=example.labor), dspy.Prediction(labor=0)
    judged = as_dspy(METRICS["regret"], threshold=0.95)
    assert judged(example, best) == 1.0
    assert judged(example, idle, None) == 0.0
    assert judged(example, best, trace=[]) is True
    assert judged(example, idle, trace=[]) is False
    told = judged(example, idle, [], "choose_labor", [])
    assert (told.score, told.feedback) == METRICS["regret"].judge(example, idle)
    assert judged(example, None) == 0.0


def test_unknown_names_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"no metric 'joy'.*regret, information, welfare, planner_share, vote_quality"):
        metric("joy")
    with pytest.raises(ValueError, match=r"no welfare function 'joy'.*inverse_income, paper"):
        metric("welfare", welfare="joy")
