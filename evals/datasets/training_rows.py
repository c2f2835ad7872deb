"""Rows of training data: exact replies (sft), pairs of replies by regret (preferences), rewards by reply (grpo)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import dspy

from evals.datasets.stored_questions import OUTPUT, StoredQuestion
from evals.metrics.registry import METRICS, missed, move
from evals.metrics.votes import VoteScore
from pipeline.agents.answer_types import signature_of
from pipeline.economy.one_step_reforms import MOVES
from programs.adapters.repairing import ADAPTERS

Row = dict[str, Any]

METRIC_OF = {"ChooseLabor": "regret", "SetTaxRates": "welfare", "CastVote": "vote_quality"}
"""The metric that scores the answers to a question."""

MOST_BRACKETS = 3
"""Up to this many brackets every change of the rates gets a reward (125); with more, every change of a single rate."""


def sft(asked: StoredQuestion) -> Iterator[Row]:
    """The conversation with the exact best reply."""
    yield {"messages": [*asked.messages, *_reply(asked, _best(asked))], **_source(asked)}


def preferences(asked: StoredQuestion) -> Iterator[Row]:
    """The exact best reply against each different reply of the run that scores less.

    Both are written in the same form, so that nothing but the answer tells them apart.
    """
    rejected = {str(answer): answer for answer in asked.replies}
    for answer in rejected.values():
        score = _score(asked, answer)
        if score < 1:
            yield {
                "prompt": list(asked.messages),
                "chosen": _reply(asked, _best(asked)),
                "rejected": _reply(asked, answer),
                "score_rejected": _rounded(score),
                "regret": _rounded(REGRET[asked.question](asked, answer)),
                **_source(asked),
            }


def grpo(asked: StoredQuestion) -> Iterator[Row]:
    """The prompt, with the reward of every possible reply; of rate changes in more than `MOST_BRACKETS` brackets, of
    the best one and of every change of a single rate."""
    rewards = {_reply(asked, answer)[0]["content"]: _rounded(_score(asked, answer)) for answer in _answers(asked)}
    yield {
        "prompt": list(asked.messages),
        "replies": list(rewards),
        "rewards": list(rewards.values()),
        "played": [_reply(asked, answer)[0]["content"] for answer in asked.replies],
        **_source(asked),
    }


FORMATS: Mapping[str, Callable[[StoredQuestion], Iterator[Row]]] = {
    "sft": sft,
    "preferences": preferences,
    "grpo": grpo,
}
"""What is written for a stored question, by format."""


def _source(asked: StoredQuestion) -> Row:
    place = asked.place
    return {
        "question": asked.question,
        "phase": asked.phase,
        "economy": asked.example.economy_seed,
        "run_id": place.run_id,
        "year": place.year,
        "agent": None if place.agent < 0 else place.agent,
        "call_id": asked.call_id,
    }


def _best(asked: StoredQuestion) -> dict[str, Any]:
    name = OUTPUT[asked.question]
    return {name: asked.example[name]}


def _score(asked: StoredQuestion, answer: Mapping[str, Any]) -> float:
    return METRICS[METRIC_OF[asked.question]].judge(asked.example, dspy.Prediction(**answer)).score


def _rounded(number: float) -> float:
    """Six digits after the point: the same on every machine."""
    return round(float(number), 6) + 0.0


def _reply(asked: StoredQuestion, answer: Mapping[str, Any]) -> list[dict[str, str]]:
    """`answer` as a message of the assistant, in the prompt format of the run."""
    adapter, signature = _adapter(asked.config.adapter), signature_of(asked.question, asked.config.bracket_count)
    return [{"role": "assistant", "content": adapter.format_assistant_message_content(signature, dict(answer))}]


@cache
def _adapter(name: str) -> Any:
    return ADAPTERS[name]()


def _answers(asked: StoredQuestion) -> Iterator[dict[str, Any]]:
    """The possible answers, in a fixed order."""
    name = OUTPUT[asked.question]
    if asked.question == "ChooseLabor":
        yield from ({name: hours} for hours in range(101))
    elif asked.question == "CastVote":
        yield from ({name: vote} for vote in VoteScore.of(asked.example.truth).utilities)
    else:
        brackets = len(asked.example.truth["rates"])
        if brackets <= MOST_BRACKETS:
            yield from ({name: list(steps)} for steps in itertools.product(sorted(MOVES), repeat=brackets))
            return
        yield _best(asked)
        for bracket, step in itertools.product(range(brackets), sorted(MOVES)):
            yield {name: [step if other == bracket else 0 for other in range(brackets)]}


def _lost_hours(asked: StoredQuestion, answer: Mapping[str, Any]) -> float:
    return missed(asked.example, dspy.Prediction(**answer)).regret


def _lost_welfare(asked: StoredQuestion, answer: Mapping[str, Any]) -> float:
    made = move(asked.example, dspy.Prediction(**answer), None)
    return made.reach.highest - made.welfare


def _lost_vote(asked: StoredQuestion, answer: Mapping[str, Any]) -> float:
    return VoteScore.of(asked.example.truth).lost(answer["vote"])


REGRET: Mapping[str, Callable[[StoredQuestion, Mapping[str, Any]], float]] = {
    "ChooseLabor": _lost_hours,
    "SetTaxRates": _lost_welfare,
    "CastVote": _lost_vote,
}
"""What an answer costs against the best: dollars a year; for rate changes, in the unit of the planner's objective."""
