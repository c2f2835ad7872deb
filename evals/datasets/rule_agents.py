"""Agents that answer by rule in an economy played in memory, without a model or a store.

The loop of a run asks them (`pipeline.simulation.loop.play_year`), with the same inputs as language-model agents.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import dspy
import numpy as np

from pipeline.agents.question import Answer, Answerer, Question
from pipeline.simulation.personas import ask_persona
from pipeline.simulation.world import World, needs_persona
from programs.engines.rules.engine import POLICIES
from programs.engines.rules.policies import CHANGES

Rng = np.random.Generator

RULE_FOR: Mapping[str, str] = {
    "WritePersona": "persona",
    "StandForOffice": "stand",
    "CastVote": "vote",
    "GovernAsLeader": "rate_changes",
    "SetTaxRates": "rate_changes",
    "ChooseLabor": "labor",
    "JudgeTaxPolicy": "satisfied",
}
"""The output field by which the engine `rules` identifies a question."""


@dataclass
class RuleAgents:
    """Agents that use the policies of the engine `rules`, called here with the inputs instead of a prompt.

    Their random draws depend only on `seed`, question, year and agent, never on others' answers: two programs tried in
    the same economy face the same draws.
    """

    seed: int

    def rng(self, question: str, year: int, agent: int | None) -> Rng:
        """The random generator of one question."""
        return np.random.default_rng([self.seed, crc32(question.encode()), year, 0 if agent is None else agent + 1])

    async def ask(self, question: Question) -> Answer:
        """The rule's answer."""
        policy, rng = POLICIES[RULE_FOR[question.name]], self.rng(question.name, question.year, question.agent)
        return Answer(dspy.Prediction(**policy(question.inputs, rng)), [])


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


async def assign_personas(world: World, llm_agents: Answerer) -> int:
    """Have the personas that `world` needs written; return the number of failures.

    These people have no persona and are described only by their pay.
    """
    people = needs_persona(world)
    answers = await asyncio.gather(*(ask_persona(world, llm_agents, agent) for agent in people))
    for agent, answer in zip(people, answers, strict=True):
        if answer.prediction is not None:
            world.personas[agent] = str(answer.prediction.persona)
    return sum(answer.prediction is None for answer in answers)
