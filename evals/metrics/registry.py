"""Score answers from 0 to 1, with an explanation in words. A new metric is one entry in `JUDGES`.

No model is called: the economy can be solved, so answers are compared with the best possible ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import dspy
from pydantic import TypeAdapter, ValidationError

from evals.metrics import exploration
from evals.metrics import labor as hours
from evals.metrics.tax_rates import RateChangeScore, welfare_score
from evals.metrics.votes import VoteScore
from pipeline.economy.welfare import WELFARE
from pipeline.economy.yardsticks import People, yardsticks
from pipeline.errors import UsageError
from programs.persona_checks import checks
from programs.roles.voter import ABSTAIN
from signatures.texts.numbers import figure, money
from signatures.types import Hours, TaxSchedule, rate_changes_type

EPISODE = "Episode"
"""The name that stands for a question in a dataset of economies."""


class Score(NamedTuple):
    """A score from 0 (worst possible, or no answer) to 1 (best possible), and an explanation for the agent that
    answered."""

    score: float
    feedback: str


Judge = Callable[[dspy.Example, dspy.Prediction | None], Score]


@dataclass(frozen=True)
class Metric:
    """A judge of answers to one question (the name of its signature), or of whole economies ("Episode").

    `judge` takes an example of `evals.datasets.simulated` (or `evals.datasets.episodes`) and a prediction. None and
    predictions without a usable answer score 0.
    """

    name: str
    question: str
    help: str
    judge: Judge


class NoAnswer(Exception):
    """The prediction has no answer that can be judged; the message says what was expected."""


def said(prediction: Any, field: str, kind: Any, expected: str) -> Any:
    """The answer in a prediction, validated by its type. Raises NoAnswer."""
    value = getattr(prediction, field, None)
    if value is None:
        raise NoAnswer(f"There was no usable answer; expected {expected}.")
    try:
        return _validator(kind).validate_python(value)
    except ValidationError:
        raise NoAnswer(f"The answer {str(value)[:80]!r} could not be used; expected {expected}.") from None


@cache
def _validator(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


# -- the worker -------------------------------------------------------------------------------------------------


def missed(example: dspy.Example, prediction: dspy.Prediction | None) -> hours.LaborScore:
    """The regret of the worker's hours, in dollars a year and as a share of the best utility. Raises NoAnswer."""
    labor = said(prediction, "labor", Hours, "whole hours a week from 0 to 100")
    return hours.missed(hours.Work.of(example.truth), labor)


def _regret(example: dspy.Example, prediction: dspy.Prediction | None, welfare: str | None) -> Score:
    found = missed(example, prediction)
    return Score(found.score, str(found))


def _information(example: dspy.Example, prediction: dspy.Prediction | None, welfare: str | None) -> Score:
    """What a trial teaches in a year to explore; the regret in a year to exploit, and if nothing is left to learn."""
    found = missed(example, prediction)
    if example.get("phase") == "explore":
        made = exploration.trial(hours.Work.of(example.truth), exploration.tried_here(example.record), found.hours)
        if made.has_something_to_learn:
            return Score(made.score, str(made))
    return Score(found.score, str(found))


# -- the planner ------------------------------------------------------------------------------------------------


def move(example: dspy.Example, prediction: dspy.Prediction | None, welfare: str | None) -> RateChangeScore:
    """The planner's change of rates and what it could have reached. Raises NoAnswer."""
    people = People.of(example.truth, welfare)
    before = TaxSchedule(thresholds=people.thresholds, rates=tuple(example.truth["rates"]))
    kind, expected = rate_changes_type(len(before.rates)), f"{len(before.rates)} changes of -20, -10, 0, 10 or 20"
    return RateChangeScore(people, before, tuple(said(prediction, "rate_changes", kind, expected)))


def _welfare(example: dspy.Example, prediction: dspy.Prediction | None, welfare: str | None) -> Score:
    made = move(example, prediction, welfare)
    return Score(made.score, str(made))


def _planner_share(example: dspy.Example, prediction: dspy.Prediction | None, welfare: str | None) -> Score:
    made = move(example, prediction, welfare)
    return Score(made.share_score, made.share_in_words())


# -- the voter and the persona ----------------------------------------------------------------------------------


def _vote_quality(example: dspy.Example, prediction: dspy.Prediction | None, welfare: str | None) -> Score:
    choice = VoteScore.of(example.truth)
    expected = ", ".join([*choice.ballot, f"or {ABSTAIN}"])
    vote = said(prediction, "vote", str, expected)
    if vote not in choice.utilities:
        raise NoAnswer(f"{vote[:80]!r} is not on the ballot; expected {expected}.")
    return Score(choice.score(vote), choice.in_words(vote))


def _fidelity(example: dspy.Example, prediction: dspy.Prediction | None, welfare: str | None) -> Score:
    """The share of the checks that pass."""
    text = said(prediction, "persona", str, "a persona in two or three sentences").strip()
    facts = {name: example[name] for name in ("occupation", "sex", "age")}
    found = checks(text, **facts, neighbours=example.truth["neighbours"])
    wrong = [check.complaint for check in found if not check.passed]
    passed = len(found) - len(wrong)
    verdict = f"The persona passes {passed} of {len(found)} checks"
    return Score(passed / len(found), f"{verdict}: {'; '.join(wrong)}." if wrong else f"{verdict}.")


# -- whole economies --------------------------------------------------------------------------------------------


def _episode(example: dspy.Example, prediction: dspy.Prediction | None, welfare: str | None) -> Score:
    """Welfare as played, on the scale of `evals.metrics.tax_rates.welfare_score`."""
    welfares = getattr(prediction, "welfares", None)
    if prediction is None or welfares is None:
        raise NoAnswer("The economy could not be played to its end.")
    name = welfare or prediction.people["welfare"]
    measure, reached = yardsticks(People(**{**prediction.people, "welfare": name})), welfares[name]
    reached_share = prediction.planner_share
    share = "too little to gain" if reached_share is None else f"planner share {reached_share:.0%}"
    hours_worked = f"{prediction.mean_hours:.1f} hours where {prediction.best_hours:.1f} were best"
    cost = f"{money(prediction.mean_regret)} a year, {prediction.regret_share:.1%} of the best utility"
    return Score(
        welfare_score(reached, measure),
        f"Welfare ({name}) was {figure(reached)} a year; with best hours it is {figure(measure.start)} at the first "
        f"schedule and {figure(measure.oracle)} at ORACLE's ({share}). Workers worked {hours_worked}, which cost each "
        f"{cost}. Schedules: {prediction.story}. "
        f"{prediction.failed} of {prediction.asked} questions had no usable answer.",
    )


class Entry(NamedTuple):
    """A metric before its welfare function is chosen."""

    question: str
    help: str
    judge: Callable[[dspy.Example, dspy.Prediction | None, str | None], Score]


JUDGES: Mapping[str, Entry] = {
    "regret": Entry("ChooseLabor", "hours: 1 - utility lost / highest utility before the rebate", _regret),
    "information": Entry(
        "ChooseLabor", "hours: when told to explore, the share of what could be learned; else as regret", _information
    ),
    "welfare": Entry("SetTaxRates", "change of rates: from the worst reachable one (0) to the best (1)", _welfare),
    "planner_share": Entry(
        "SetTaxRates", "change of rates: share of ORACLE's gain over the start that it reaches", _planner_share
    ),
    "vote_quality": Entry("CastVote", "vote: from the name that serves the voter worst (0) to best (1)", _vote_quality),
    "fidelity": Entry("WritePersona", "persona: share of checks against the census record that it passes", _fidelity),
    "episode": Entry(EPISODE, "economy as played: 0 if no one works, 1/2 FREE_MARKET or the start, 1 ORACLE", _episode),
}


def metric(name: str, *, welfare: str | None = None) -> Metric:
    """The metric called `name`, with the welfare function `welfare` if given, else with the objective of the example's
    own planner. ValueError lists the metrics and welfare functions.
    """
    if name not in JUDGES:
        raise ValueError(f"no metric {name!r}: choose one of {', '.join(JUDGES)}")
    if welfare is not None and welfare not in WELFARE:
        raise ValueError(f"no welfare function {welfare!r}: choose one of {', '.join(WELFARE)}")
    entry = JUDGES[name]
    return Metric(name, entry.question, entry.help, partial(_judged, entry.judge, welfare))


def _judged(
    judge: Callable[[dspy.Example, dspy.Prediction | None, str | None], Score],
    welfare: str | None,
    example: dspy.Example,
    prediction: dspy.Prediction | None,
) -> Score:
    """The judge's score, or 0 and what was expected. UsageError for an example without the truth."""
    if not hasattr(example, "truth"):
        raise UsageError(
            f"the example ({', '.join(example.keys()) or 'empty'}) has no `truth` to be judged by; metrics judge the "
            "examples of llm_economist.dataset"
        )
    try:
        return judge(example, prediction, welfare)
    except NoAnswer as nothing:
        return Score(0.0, str(nothing))


METRICS: Mapping[str, Metric] = {name: metric(name) for name in JUDGES}
"""Every metric, with the objective of each example."""


def as_dspy(metric: Metric, *, threshold: float = 0.9) -> Callable[..., Any]:
    """`metric` in the form that DSPy optimizers call.

    To accept or reject a trace as a demonstration (a `trace`, no `pred_name`): whether the score exceeds `threshold`.
    For GEPA's reflection (a `pred_name`): the score with its feedback. Otherwise the score.
    """

    def judged(
        gold: dspy.Example,
        pred: dspy.Prediction | None,
        trace: Any = None,
        pred_name: str | None = None,
        pred_trace: Any = None,
    ) -> Any:
        score, feedback = metric.judge(gold, pred)
        if pred_name is not None:
            return dspy.Prediction(score=score, feedback=feedback)
        return score > threshold if trace is not None else score

    return judged
