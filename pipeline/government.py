"""Who sets the tax rates, and to what: the planner's proposal, or an election and the leader's decision."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline import observations as see
from pipeline.economy.equilibrium import settle
from pipeline.election import RULES, ballot_names
from pipeline.minds import Answer, Respondents
from pipeline.world import World
from programs.voter import ABSTAIN, ballot

Platforms = dict[int, tuple[int, ...] | None]

EXPLOIT_FROM = 0.8
"""The planner explores schedules for this share of the run, then exploits what it found."""


@dataclass
class Government:
    """What a change of government left: the changes made, and the rows of its election."""

    rate_changes: list[int] | None = None
    fallback: bool | None = None
    call_id: int | None = None
    asked: int = 0
    failed: int = 0
    votes: list[dict[str, Any]] = field(default_factory=list)
    platforms: list[dict[str, Any]] = field(default_factory=list)


async def govern(world: World, minds: Respondents, year: int) -> Government:
    """Change the tax schedule for the tax year that begins: by the planner, or by whoever is elected."""
    government = Government()
    platforms: Platforms = {}
    if world.scenario.elections:
        platforms = await _elect(world, minds, year, government)
    inputs = planner_inputs(world, year)
    if world.leader is None:
        answer = await minds.ask("SetTaxRates", inputs, year=year, agent=None)
    else:
        answer = await minds.ask(
            "GovernAsLeader", {**inputs, **_leader_inputs(world, platforms)}, year=year, agent=world.leader
        )
    _apply(world, government, answer)
    return government


def planner_inputs(world: World, year: int) -> dict[str, str]:
    """The planner's view of the economy."""
    outcome = world.outcome
    economy = "no years yet"
    if outcome is not None and world.adjusted is not None:
        economy = see.economy_summary(
            world.schedule,
            income=outcome.income,
            utility=world.adjusted,
            hours=outcome.labor,
            rebate=outcome.rebate,
            welfare=world.welfare,
        )
    return {
        "objective": see.planner_objective(world.economy, world.config.welfare),
        "economy": economy,
        "record": see.planner_record(world.planner_memory),
        "tax_schedule": str(world.schedule),
        "phase": "exploit" if year >= EXPLOIT_FROM * world.config.max_timesteps else "explore",
    }


def _leader_inputs(world: World, platforms: Platforms) -> dict[str, str]:
    leader = world.leader
    assert leader is not None
    return {
        "identity": see.identity(world.personas[leader], float(world.population.wage[leader])),
        "own_record": see.worker_record(world.memory, leader, world.schedule),
        "platform": see.platform_in_words(platforms.get(leader)),
    }


def _apply(world: World, government: Government, answer: Answer) -> None:
    government.asked += 1
    government.call_id = answer.call_id
    government.fallback = answer.prediction is None
    if answer.prediction is None:
        government.failed += 1
        government.rate_changes = [0] * len(world.schedule.rates)
        return
    changes = tuple(int(change) for change in answer.prediction.rate_changes)
    government.rate_changes = list(changes)
    world.schedule = world.schedule.changed(changes)


async def _elect(world: World, minds: Respondents, year: int, government: Government) -> Platforms:
    """Candidates, votes, a winner. Without a candidate, or without a vote for one, the incumbent stays."""
    if world.config.platforms:
        platforms, calls = await _nominate(world, minds, year, government)
    else:
        names = ballot_names(world.voters_asked, world.leader, world.rng("ballot", year))
        platforms, calls = {agent: None for agent in names}, {}
    if platforms:
        votes = await _vote(world, minds, year, platforms, government)
        winner = RULES[world.config.election_rule](votes, list(platforms), world.rng("tie", year))
        world.leader = world.leader if winner is None else winner
    government.platforms = [
        {
            "candidate": agent,
            "rate_changes": None if changes is None else list(changes),
            "elected": agent == world.leader,
            "call_id": calls.get(agent),
        }
        for agent, changes in platforms.items()
    ]
    return platforms


def citizen_inputs(world: World, agent: int) -> dict[str, str]:
    """What a citizen knows before an election: the law, the rebate, itself, and its own years."""
    rebate = world.outcome.rebate if world.outcome is not None else None
    return {
        "tax_schedule": str(world.schedule),
        "last_rebate": see.last_rebate(rebate),
        "identity": see.identity(world.personas[agent], float(world.population.wage[agent])),
        "record": see.worker_record(world.memory, agent, world.schedule),
    }


async def _nominate(
    world: World, minds: Respondents, year: int, government: Government
) -> tuple[Platforms, Mapping[int, int | None]]:
    eligible = world.voters_asked
    questions = (
        minds.ask("StandForOffice", citizen_inputs(world, agent), year=year, agent=agent) for agent in eligible
    )
    answers = dict(zip(eligible, await asyncio.gather(*questions), strict=True))
    _count(government, list(answers.values()))
    willing = [agent for agent, a in answers.items() if a.prediction is not None and a.prediction.stand]
    standing = {agent: answers[agent] for agent in ballot_names(willing, world.leader, world.rng("ballot", year))}
    platforms: Platforms = {
        agent: tuple(int(c) for c in a.prediction.rate_changes or (0,) * len(world.schedule.rates))
        for agent, a in standing.items()
        if a.prediction is not None
    }
    return platforms, {agent: a.call_id for agent, a in standing.items()}


def vote_inputs(world: World, voter: int, platforms: Platforms) -> dict[str, str]:
    """What a citizen knows, and who is on the ballot."""
    told = see.candidates_in_words(platforms, world.population, voter=voter, with_platforms=world.config.platforms)
    return {**citizen_inputs(world, voter), "candidates": told}


async def _vote(
    world: World, minds: Respondents, year: int, platforms: Platforms, government: Government
) -> list[int | None]:
    names = {see.candidate_name(agent): agent for agent in platforms}
    module = ballot(minds.module("CastVote"), list(names))
    asked = world.voters_asked
    questions = (
        minds.ask("CastVote", vote_inputs(world, v, platforms), year=year, agent=v, module=module) for v in asked
    )
    answers = dict(zip(asked, await asyncio.gather(*questions), strict=True))
    _count(government, list(answers.values()))
    votes: list[int | None] = []
    for voter in range(world.num_agents):
        answer = answers.get(voter)
        choice = _own_interest(world, voter, platforms) if answer is None else _choice(answer, names)
        votes.append(choice)
        government.votes.append(
            {
                "voter": voter,
                "candidate": choice,
                "fallback": answer is not None and answer.prediction is None,
                "call_id": answer.call_id if answer is not None else None,
            }
        )
    return votes


def _choice(answer: Answer, names: Mapping[str, int]) -> int | None:
    """The candidate voted for; None for an abstention and for a failed answer."""
    if answer.prediction is None or answer.prediction.vote == ABSTAIN:
        return None
    return names[answer.prediction.vote]


def _own_interest(world: World, voter: int, platforms: Platforms) -> int:
    """How a worker without a mind votes: the best platform for it with everyone's hours as they are, or,
    without platforms, the candidate with the nearest wage."""
    wage = world.population.wage
    if not world.config.platforms:
        return min(platforms, key=lambda agent: (abs(wage[agent] - wage[voter]), agent))

    def own_utility(agent: int) -> float:
        schedule = world.schedule.changed(platforms[agent] or (0,) * len(world.schedule.rates))
        return float(settle(world.economy, schedule, wage, world.hours).utility[voter])

    return max(platforms, key=lambda agent: (own_utility(agent), -agent))


def _count(government: Government, answers: list[Answer]) -> None:
    government.asked += len(answers)
    government.failed += int(np.sum([answer.prediction is None for answer in answers]))
