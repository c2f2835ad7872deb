"""Agents that answer by rule in an economy played in memory, without a model or a store.

The loop of a run asks them (`pipeline.simulation.loop.play_year`), with the same inputs as language-model agents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from zlib import crc32

import dspy
import numpy as np

from pipeline.agents.question import Answer, Question
from programs.engines.rules.engine import POLICIES

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
