"""Set the tax rates of a tax year: by the planner, or by an election and the elected leader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np

from pipeline.agents.question import Answer, Answerer, Question
from pipeline.economy.equilibrium import settle
from pipeline.economy.policy_support import prospects
from pipeline.economy.tax import FloatArray
from pipeline.simulation import observations as see
from pipeline.simulation.elections.prospects import prospects as prospects_of
from pipeline.simulation.elections.rules import ELECTION_RULES, Ballot, Poll, Rule, ballot_names, sincere_ballot
from pipeline.simulation.world import World
from programs.roles.voter import BallotPaper, names_in
from signatures.texts.ballot import BallotRules, Form, candidate_name
from signatures.texts.planner import RateChanges
from signatures.texts.worker import LastRebate
from signatures.types import TaxSchedule

Platforms = Mapping[int, tuple[int, ...] | None]

EXPLOIT_FROM = 0.8
"""The planner explores schedules for this share of the run, then exploits the best."""


@dataclass
class Government:
    """The result of a tax decision: the rate changes, the rows of its election, and counts of calls."""

    rate_changes: list[int] | None = None
    fallback: bool | None = None
    call_id: int | None = None
    asked: int = 0
    failed: int = 0
    votes: list[dict[str, Any]] = field(default_factory=list)
    platforms: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Campaign:
    """The candidates' platforms and calls, and the winner; None if there is none."""

    platforms: Platforms = field(default_factory=dict)
    calls: Mapping[int, int | None] = field(default_factory=dict)
    winner: int | None = None


async def govern(world: World, llm_agents: Answerer, year: int) -> Government:
    """Set the tax schedule of a new tax year, by the planner or by the elected leader."""
    government = Government()
    campaign = await _elect(world, llm_agents, year, government) if world.scenario.elections else Campaign()
    inputs = planner_inputs(world, year)
    if world.leader is None:
        _apply(world, government, await llm_agents.ask(Question("SetTaxRates", inputs, year)))
    elif world.config.binding_platforms:
        _keep_promise(world, government, campaign)
    else:
        inputs |= leader_inputs(world, campaign.platforms)
        _apply(world, government, await llm_agents.ask(Question("GovernAsLeader", inputs, year, world.leader)))
    return government


def planner_inputs(world: World, year: int) -> dict[str, str]:
    """The input fields of the planner's prompt."""
    outcome = world.outcome
    economy = "no years yet"
    if outcome is not None and world.judged is not None:
        economy = str(
            see.economy_summary(
                world.schedule,
                income=outcome.income,
                utility=world.judged,
                hours=outcome.labor,
                rebate=outcome.rebate,
                welfare=world.welfare,
                satisfied=world.satisfied,
                spending=world.config.spending,
            )
        )
    return {
        "objective": str(see.planner_objective(world.setting(), world.num_agents, halved=world.satisfaction_counts)),
        "economy": economy,
        "record": str(see.planner_record(world.planner_memory, world.layout("planner"), now=world.schedule)),
        "tax_schedule": str(world.schedule),
        "phase": "exploit" if year >= EXPLOIT_FROM * world.config.max_timesteps else "explore",
    }


def leader_inputs(world: World, platforms: Platforms) -> dict[str, str]:
    """The additional input fields of an elected leader: its identity, its own record and its platform."""
    leader = world.leader
    assert leader is not None
    return {
        "identity": str(world.identity(leader)),
        "own_record": str(see.worker_record(world.memory, leader, world.schedule)),
        "platform": str(RateChanges.of(platforms.get(leader))),
    }


def _apply(world: World, government: Government, answer: Answer) -> None:
    _count(government, [answer])
    said = answer.prediction
    changes = (0,) * len(world.schedule.rates) if said is None else said.rate_changes
    _enact(world, government, changes, fallback=said is None, call_id=answer.call_id)


def _keep_promise(world: World, government: Government, campaign: Campaign) -> None:
    """Enact the winner's platform. An incumbent who stays without being elected made no promise, so rates stay."""
    promised = campaign.platforms[campaign.winner] if campaign.winner is not None else None
    call_id = campaign.calls.get(campaign.winner) if campaign.winner is not None else None
    _enact(world, government, promised or (0,) * len(world.schedule.rates), fallback=False, call_id=call_id)


def _enact(
    world: World, government: Government, changes: Sequence[int], *, fallback: bool, call_id: int | None
) -> None:
    government.rate_changes = [int(change) for change in changes]
    government.fallback, government.call_id = fallback, call_id
    world.schedule = world.changed(tuple(government.rate_changes))


async def _elect(world: World, llm_agents: Answerer, year: int, government: Government) -> Campaign:
    """Hold an election. The incumbent stays if there is no candidate, or no vote for one."""
    rule = ELECTION_RULES[world.config.election_rule]
    if world.config.platforms:
        platforms, calls = await _nominate(world, llm_agents, year, government, rule)
    else:
        platforms, calls = dict.fromkeys(_standing(world, world.voters_asked, year, rule)), {}
    winner = None
    if platforms:
        votes = await _vote(world, llm_agents, year, platforms, government, rule.form) if rule.form else []
        poll = Poll(list(platforms), votes, world.population.wage, _interest(world, platforms))
        winner = rule.elect(poll, world.rng("tie", year))
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
    return Campaign(platforms, calls, winner)


def _standing(world: World, willing: Sequence[int], year: int, rule: Rule) -> list[int]:
    """The willing agents, limited to the size of a ballot if the rule has ballots."""
    return ballot_names(willing, world.leader, world.rng("ballot", year)) if rule.form else list(willing)


def citizen_inputs(world: World, agent: int) -> dict[str, str]:
    """The input fields of a citizen before an election: the law, the rebate, its identity and its record."""
    rebate = world.outcome.rebate if world.outcome is not None else None
    return {
        "tax_schedule": str(world.schedule),
        "last_rebate": str(LastRebate(rebate, world.config.spending)),
        "identity": str(world.identity(agent)),
        "record": str(see.worker_record(world.memory, agent, world.schedule, world.layout("voter"))),
    }


async def _nominate(
    world: World, llm_agents: Answerer, year: int, government: Government, rule: Rule
) -> tuple[Platforms, Mapping[int, int | None]]:
    eligible = world.voters_asked
    questions = (
        llm_agents.ask(Question("StandForOffice", citizen_inputs(world, agent), year, agent)) for agent in eligible
    )
    answers = dict(zip(eligible, await asyncio.gather(*questions), strict=True))
    _count(government, list(answers.values()))
    willing = [agent for agent, a in answers.items() if a.prediction is not None and a.prediction.stand]
    standing = {agent: answers[agent] for agent in _standing(world, willing, year, rule)}
    platforms: Platforms = {
        agent: tuple(int(c) for c in a.prediction.rate_changes or (0,) * len(world.schedule.rates))
        for agent, a in standing.items()
        if a.prediction is not None
    }
    return platforms, {agent: a.call_id for agent, a in standing.items()}


def ballot_paper(form: Form, platforms: Platforms) -> BallotPaper:
    """The ballot paper of a vote, with the candidates as the permitted answers."""
    return BallotPaper(tuple(candidate_name(agent) for agent in platforms), form)


def in_order_of(world: World, voter: int, year: int, platforms: Platforms) -> Platforms:
    """The candidates in the order in which this voter's ballot lists them.

    A rotation of their numbers, drawn for each voter and election: over all voters each candidate is in each place
    equally often, so that a voter's preference for a place decides nothing.
    """
    if world.config.ballot_order == "listed" or not platforms:
        return platforms
    rng = np.random.default_rng([world.config.seed, crc32(b"ballot order"), year, voter])
    first, names = int(rng.integers(len(platforms))), list(platforms)
    return {name: platforms[name] for name in [*names[first:], *names[:first]]}


def vote_inputs(world: World, voter: int, platforms: Platforms) -> dict[str, str]:
    """The input fields of a voter's prompt. ValueError for a rule without a vote."""
    rule = ELECTION_RULES[world.config.election_rule]
    if rule.form is None:
        raise ValueError(f"the election rule {world.config.election_rule} has no vote")
    return {
        **citizen_inputs(world, voter),
        "ballot": str(BallotRules(rule.form, rule.words)),
        "candidates": str(
            see.candidates(
                platforms,
                world.population,
                voter=voter,
                with_platforms=world.config.platforms,
                prospects=prospects_of(world, platforms, voter) if world.layout("voter").prospects else {},
            )
        ),
    }


async def _vote(
    world: World, llm_agents: Answerer, year: int, platforms: Platforms, government: Government, form: Form
) -> list[Ballot]:
    """The ballots of all agents, in order: from the model, or, for workers without one, sincere ballots."""
    asked = world.voters_asked
    questions = (
        llm_agents.ask(
            Question("CastVote", vote_inputs(world, voter, shown), year, voter, ballot=ballot_paper(form, shown))
        )
        for voter in asked
        for shown in [in_order_of(world, voter, year, platforms)]
    )
    answers = dict(zip(asked, await asyncio.gather(*questions), strict=True))
    _count(government, list(answers.values()))
    ballots = _sincere_ballots(world, year, platforms, form) if len(asked) < world.num_agents else {}
    ballots |= {voter: _chosen(answer, platforms) for voter, answer in answers.items()}
    government.votes = [
        {
            "voter": voter,
            "candidate": ballots[voter][0] if ballots[voter] else None,
            "ballot": list(ballots[voter]),
            "fallback": voter in answers and answers[voter].prediction is None,
            "call_id": answers[voter].call_id if voter in answers else None,
        }
        for voter in range(world.num_agents)
    ]
    return [ballots[voter] for voter in range(world.num_agents)]


def _chosen(answer: Answer, platforms: Platforms) -> Ballot:
    """The candidates on a ballot, in order; empty for an abstention or a failed answer."""
    if answer.prediction is None:
        return ()
    numbers = {candidate_name(agent): agent for agent in platforms}
    return tuple(numbers[name] for name in names_in(answer.prediction.vote))


def _interest(world: World, platforms: Platforms) -> Callable[[int], FloatArray]:
    """Map a voter to its utility under each candidate's platform, with best responses; without platforms, to the
    negative distance between each candidate's wage and its own."""
    wage = world.population.wage
    if world.config.platforms:
        rates, law_of = np.unique(
            [law.rates for law in _promised_laws(world, platforms)], axis=0, return_inverse=True
        )  # hundreds of candidates may propose only a few different laws
        edges = world.schedule.thresholds
        return lambda voter: prospects(world.economy, edges, rates, wage, world.windfall)[voter][law_of]
    return lambda voter: -np.abs(wage[list(platforms)] - wage[voter])


def _promised_laws(world: World, platforms: Platforms) -> list[TaxSchedule]:
    unchanged = (0,) * len(world.schedule.rates)
    return [world.changed(tuple(changes or unchanged)) for changes in platforms.values()]


def _sincere_ballots(world: World, year: int, platforms: Platforms, form: Form) -> dict[int, Ballot]:
    """The ballots of workers without a model: for the platform with the highest utility at current hours, or, without
    platforms, for the candidate with the nearest wage."""
    wage, rng = world.population.wage, world.rng("mindless", year)
    if world.config.platforms:
        laws = _promised_laws(world, platforms)
        windfall = world.windfall if world.config.income_effects else 0.0
        wants = np.array([settle(world.economy, law, wage, world.hours, windfall=windfall).utility for law in laws]).T
    else:
        wants = -np.abs(wage[:, None] - wage[list(platforms)])
    voters = np.flatnonzero(~world.asked).tolist()
    return {voter: sincere_ballot(form, wants[voter], list(platforms), rng) for voter in voters}


def _count(government: Government, answers: list[Answer]) -> None:
    government.asked += len(answers)
    government.failed += int(np.sum([answer.prediction is None for answer in answers]))
