"""The checks of a card, by name. A new check is one function and one entry in `CHECKS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from evals.validity import invariance, planners, reply_formats, voters, workers
from evals.validity.questionnaire import Panel
from evals.validity.scores import Finding
from pipeline.agents.roles import QUESTIONS

SIZES: Mapping[str, bool] = {"full": True, "small": False}
"""How many questions: all, or about a third. A full card includes the questions of a small one."""


@dataclass(frozen=True)
class Check:
    """`asks`: what it checks. `zero` and `one`: the meaning of these scores. `find(panel, full)` asks and judges."""

    asks: str
    zero: str
    one: str
    find: Callable[[Panel, bool], Finding]


CHECKS: Mapping[str, Check] = {
    "hours": Check(
        "hours over wages and rates", "no closer than always 40 hours", "the closed form", workers.closed_form
    ),
    "elasticity": Check("response to tax shocks", "none, or twice the true one", "elasticity 0.4", workers.elasticity),
    "monotonicity": Check("order of hours", "always reversed", "never reversed", workers.monotonicity),
    "round_numbers": Check(
        "bunching at multiples of 5", "all answers", "no more than the best answers", workers.round_numbers
    ),
    "repetition": Check("the same question twice", "10 hours apart", "the same hours", invariance.repetition),
    "currency": Check("all money times 100", "10 hours apart", "the same hours", invariance.currency),
    "identity": Check("another name or sex", "10 hours apart", "the same hours", invariance.identity),
    "option_order": Check(
        "ballot in reverse order", "never the same vote", "always the same vote", voters.option_order
    ),
    "votes": Check("own best platform", "random votes", "always the best", voters.votes),
    "planner": Check("one-bracket toy", "welfare at the start", "welfare at the best ten-point rate", planners.toy),
}
"""By the name under which scores are stored."""


def read_replies(panel: Panel, full: bool) -> dict[str, Finding]:
    """How well each question's replies parsed, by signature, after asking the questions that no check asks."""
    panel.ask(reply_formats.unasked(full))
    return {question: reply_formats.parse_rate(panel, question) for question in QUESTIONS}
