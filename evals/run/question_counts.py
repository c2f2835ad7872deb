"""Estimate how often each question of a run is asked, and how long its prompts and replies are, from the settings.

The questions of a year without memory and of a year with full memory go to the `rules` engine with the strategies,
programs and format of the run, in memory: this measures the prompts, however many calls a strategy makes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from pipeline.agents.agents import LLMAgents
from pipeline.agents.question import Question
from pipeline.config import RunConfig
from pipeline.economy.equilibrium import settle
from pipeline.parallel.interrupts import run_async
from pipeline.simulation.elections.rules import ELECTION_RULES, MOST_CANDIDATES
from pipeline.simulation.government import ballot_paper, planner_inputs, vote_inputs
from pipeline.simulation.loop import play_year
from pipeline.simulation.personas import write_personas
from pipeline.simulation.world import World, create, needs_persona
from pipeline.store.call_rows import Call
from pipeline.store.writer import Store
from programs.calls.model_names import RULES
from signatures.types import TaxSchedule

SAMPLE = 24
"""Maximum workers whose prompts are measured: more than fit on a ballot."""

SHORT_PERSONA = "You are a worker."
LONG_PERSONA = "You are a person of whom there is so much to be told. " * 9
GOVERNING = "SetTaxRates or GovernAsLeader"

Interval = tuple[int, int]


@dataclass(frozen=True)
class Size:
    """Minimum and maximum calls and characters of prompts and replies for one question."""

    calls: Interval
    prompt: Interval
    reply: Interval


def governments(config: RunConfig) -> list[int]:
    """The years in which the schedule may change."""
    if config.planner_type != "LLM":
        return []
    return [y for y in range(0, config.max_timesteps, config.two_timescale) if y >= config.warmup]


def questions(config: RunConfig, *, personas_known: bool) -> dict[str, Interval]:
    """Minimum and maximum number of questions of each signature in a run."""
    world = create(config)
    years, changes = config.max_timesteps, len(governments(config))
    asked, people = len(world.voters_asked), len(needs_persona(world))
    workers, judges = (asked, asked), (people, people)
    if config.archetypes is not None:
        workers, judges = _archetypes_asked(world)
    chances = changes * asked
    votes = chances if world.scenario.elections and ELECTION_RULES[config.election_rule].form else 0
    governs = changes if not config.binding_platforms else 0 if asked else changes
    return {
        "WritePersona": (0 if personas_known else people, people),
        "StandForOffice": (chances, chances) if config.platforms else (0, 0),
        "CastVote": (0 if config.platforms else votes, votes),
        _governing(world): (governs, changes),
        "ChooseLabor": (years * workers[0], years * workers[1]),
        "JudgeTaxPolicy": (years * judges[0], years * judges[1]) if world.scenario.satisfaction else (0, 0),
    }


def _archetypes_asked(world: World) -> tuple[Interval, Interval]:
    """Yearly questions to archetypes, on hours and on the policy: those of the first year, or the maximum."""
    archetype = world.delegate(0).archetype
    assert archetype is not None
    first = np.unique(archetype)
    own = world.population.utility_type == "egotistical"
    most = (world.config.archetypes or 0) * world.config.archetype_samples
    return (len(first), min(world.num_agents, most)), (int(own[first].sum() > 0), min(int(own.sum()), most))


def _governing(world: World) -> str:
    """The question for the government; without a leader it goes to the planner, even in runs with elections."""
    return GOVERNING if world.scenario.elections and world.voters_asked else "SetTaxRates"


class _NoPersonas:
    """A store without personas."""

    def personas(self, **key: Any) -> dict[Any, str]:
        return {}


def measure(config: RunConfig) -> dict[str, Size]:
    """The size of each question, from a year without memory and from one with a full memory."""
    few = replace(config, num_agents=min(config.num_agents, SAMPLE), base_url=None, prices=None, warmup=0)
    few = replace(few, max_cost_usd=None, max_tokens=None, callback=(), role_llm={})  # rules answer for every role
    return _sizes([*run_async(_sample(few, full=False)), *run_async(_sample(few, full=True))])


async def _sample(config: RunConfig, *, full: bool) -> list[list[Call]]:
    """Calls by question of one year: without memory, or with as much as the run can have."""
    world, calls = create(config), list[Call]()
    llm_agents = LLMAgents(config, RULES, sink=calls.append)
    await write_personas(world, llm_agents, cast(Store, _NoPersonas()))
    for agent in needs_persona(world):
        world.personas[agent] = LONG_PERSONA[:450] if full else SHORT_PERSONA
    changes = governments(config)
    year = (changes[-1] if changes else config.max_timesteps - 1) if full else 0
    if full:
        fill_memory(world)
    if world.scenario.elections and world.voters_asked:
        await _ask_of_elections(world, llm_agents, year, full=full)
        world.leader = world.voters_asked[-1]
    await play_year(world, llm_agents, year)
    by_question: dict[tuple[str, int, int | None], list[Call]] = defaultdict(list)
    for call in calls:
        by_question[call.signature, call.year, call.agent].append(call)
    return list(by_question.values())


async def _ask_of_elections(world: World, llm_agents: LLMAgents, year: int, *, full: bool) -> None:
    """The questions that depend on the candidates: a vote on the shortest or longest ballot, a planner's change."""
    voter = world.voters_asked[-1]
    on_ballot = world.voters_asked[-MOST_CANDIDATES:] if full else [voter]
    changes = (-20,) * len(world.schedule.rates) if full else (0,) * len(world.schedule.rates)
    platforms = dict.fromkeys(on_ballot, changes)
    if form := ELECTION_RULES[world.config.election_rule].form:
        inputs, paper = vote_inputs(world, voter, platforms), ballot_paper(form, platforms)
        # An agent number of its own: what is measured is one question.
        await llm_agents.ask(Question("CastVote", inputs, year + 1, voter, ballot=paper))
    await llm_agents.ask(Question("SetTaxRates", planner_inputs(world, year), year + 1))


def fill_memory(world: World) -> None:
    """Fill the memory with years in which every worker tried many hours under one law, and the planner many laws."""
    config = world.config
    wage, years = world.population.wage, min(config.max_timesteps - 1, config.history_len)
    first = max(0, config.max_timesteps - 1 - years)
    for i in range(years):
        hours = np.full(world.num_agents, 99.0 - 3 * (i % 12))
        outcome = settle(world.economy, world.schedule, wage, hours)
        world.judged = outcome.utility
        if world.scenario.satisfaction:
            world.satisfied = (world.num_agents, world.num_agents)
        welfare = float(world.setting().objective(outcome.utility, outcome.income, wage))
        own = world.population.utility_type == "egotistical"
        world.remember_workers(first + i, outcome, np.where(own, outcome.utility, -abs(welfare)))
        world.welfare = welfare
    tried = len(governments(config)) if years else 0
    for i in range(min(tried, 60)):
        # Laws that all differ in welfare, so that the best ones and the last ones are not the same.
        law = TaxSchedule(thresholds=world.schedule.thresholds, rates=(100.0 - i % 50,) * len(world.schedule.rates))
        world.planner_memory.remember(
            year=config.max_timesteps - 1 - i, schedule=law, welfare=-abs(world.welfare) - i, settled=True
        )


def _sizes(asked: Iterable[list[Call]]) -> dict[str, Size]:
    """Minimum and maximum size of the questions of each signature."""
    seen: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for calls in asked:
        row = (len(calls), sum(len(call.prompt) for call in calls), sum(len(call.response or "") for call in calls))
        seen[calls[0].signature].append(row)
        if calls[0].signature in ("SetTaxRates", "GovernAsLeader"):
            seen[GOVERNING].append(row)
    return {
        name: Size(*((min(column), max(column)) for column in zip(*rows, strict=True))) for name, rows in seen.items()
    }
