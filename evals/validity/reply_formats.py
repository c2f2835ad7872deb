"""Check whether a model replies in the required format, for every question that a run may ask."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from evals.validity.questionnaire import Ask, Panel
from evals.validity.scores import Finding, shared
from evals.validity.voters import CAMPAIGNS, settled
from pipeline.simulation.government import citizen_inputs, leader_inputs, planner_inputs
from pipeline.simulation.loop import judge_inputs
from pipeline.simulation.personas import persona_inputs
from pipeline.simulation.world import World

FEW, SOME = 2, 6
"""Questions of each kind that no check asks."""


def unasked(full: bool) -> list[Ask]:
    """Questions of the kinds that no check covers."""
    return [ask for asks in _unasked() for ask in asks[: SOME if full else FEW]]


@cache
def _unasked() -> list[list[Ask]]:
    campaign = CAMPAIGNS[0]
    world, year = settled(campaign.rates)
    everybody, outcome = range(world.num_agents), world.outcome
    assert outcome is not None
    return [
        [Ask("JudgeTaxPolicy", judge_inputs(world, agent, outcome)) for agent in everybody],
        [Ask("StandForOffice", citizen_inputs(world, agent)) for agent in everybody],
        [Ask("GovernAsLeader", _as_leader(world, agent, year)) for agent in everybody],
        [Ask("WritePersona", persona_inputs(world, agent)) for agent in everybody],
    ]


def _as_leader(world: World, agent: int, year: int) -> dict[str, str]:
    world.leader = agent
    return planner_inputs(world, year) | leader_inputs(world, CAMPAIGNS[0].platforms)


def parse_rate(panel: Panel, question: str) -> Finding:
    """The share of all questions of a kind whose every reply was usable at once."""
    replies = [reply for ask, reply in panel.replies.values() if ask.question == question]
    parsed, refused = sum(reply.parsed for reply in replies), sum(len(reply.unparsed) for reply in replies)
    words = f"{refused} of {parsed + refused} replies were unusable"
    made = shared([reply.answer is not None and not reply.unparsed for reply in replies], replies, words)
    return replace(made, words=words)
