"""Agents that answer by rule or at random: the records of their economies are as varied as those of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dspy
import numpy as np

from pipeline.agents.question import Answer, Question
from pipeline.agents.rule_agents import RuleAgents
from programs.engines.rules.policies import CHANGES

Rng = np.random.Generator


@dataclass
class RandomisedAgents(RuleAgents):
    """Answer by rule or, with probability `whim`, at random: their records lie between a bandit's and pure chance.

    A model's records vary as much: some search in small steps, some jump, some repeat themselves. Rates always change
    at random: a good planner's record crowds around the best schedule, where little is left to learn. `watched`: the
    question whose inputs are kept in `seen`, with the agent.
    """

    whim: float = 0.5
    watched: str = ""
    seen: list[tuple[int | None, Mapping[str, Any]]] = field(default_factory=list)

    async def ask(self, question: Question) -> Answer:
        """The rule's answer, or a random one."""
        if question.name == self.watched:
            self.seen.append((question.agent, dict(question.inputs)))
        rng = self.rng(f"whim {question.name}", question.year, question.agent)
        wanders = rng.random() < (1.0 if question.name == "SetTaxRates" else self.whim)
        if wanders and question.name in AT_RANDOM:
            return Answer(dspy.Prediction(**AT_RANDOM[question.name](question.inputs, rng)), [])
        return await super().ask(question)


def any_hours(inputs: Mapping[str, Any], rng: Rng) -> dict[str, Any]:
    """Hours around full time, mostly round ones, as models choose them."""
    step = rng.choice([10, 5, 1], p=[0.5, 0.3, 0.2])
    return {"labor": int(np.clip(round(rng.normal(42, 16) / step) * step, 0, 100))}


def any_changes(inputs: Mapping[str, Any], rng: Rng) -> dict[str, Any]:
    """Random changes of each rate."""
    return {"rate_changes": _changes(inputs, rng)}


def any_platform(inputs: Mapping[str, Any], rng: Rng) -> dict[str, Any]:
    """Whether to stand, and a random platform."""
    stand = bool(rng.random() < 0.5)
    return {"stand": stand, "rate_changes": _changes(inputs, rng) if stand else None}


def _changes(inputs: Mapping[str, Any], rng: Rng) -> list[int]:
    return [int(change) for change in rng.choice(CHANGES, size=inputs["tax_schedule"].count("%"))]


AT_RANDOM: Mapping[str, Callable[[Mapping[str, Any], Rng], dict[str, Any]]] = {
    "ChooseLabor": any_hours,
    "SetTaxRates": any_changes,
    "GovernAsLeader": any_changes,
    "StandForOffice": any_platform,
}
"""Random answers by question; all other questions are answered by rule."""
