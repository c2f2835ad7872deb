"""A question as a run would ask it, with its exact answer: one `dspy.Example`.

Inputs are the signature's input fields, labels its outputs. `economy_seed` identifies the population, and `truth`
holds, as plain data, what is needed to judge any answer. Neither is a field of a signature, so that prompts do not show
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import dspy

from evals.metrics.labor import Work, best_hours
from evals.metrics.tax_rates import reachable
from evals.metrics.votes import VoteScore, prospects
from pipeline.config import RunConfig
from pipeline.economy.effort import OWN
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.yardsticks import People
from pipeline.errors import UsageError
from pipeline.simulation.government import Platforms
from pipeline.simulation.world import World
from signatures.types import TaxSchedule

HIDDEN = ("economy_seed", "truth")
"""Fields of an example that no prompt shows."""

NEIGHBOURS = 10
"""Personas of other people that a persona is compared with."""


@dataclass(frozen=True)
class Asked:
    """A question that was asked: the agent, its inputs, the current schedule and, for a vote, the platforms by
    candidate, in the order of the voter's ballot.

    `others`: what a worker gets from the others' taxes, in dollars a year, once all have chosen; None if that is not
    known, and all are taken to best-respond.
    """

    agent: int | None
    inputs: Mapping[str, Any]
    schedule: TaxSchedule
    platforms: Platforms = field(default_factory=dict)
    others: float | None = None


def bare(example: dspy.Example) -> dspy.Example:
    """`example` with only the fields of its signature, as a demonstration in a saved program needs it."""
    return example.without(*(name for name in HIDDEN if name in example))


Answered = tuple[dict[str, Any], dict[str, Any]]
"""The best answer by output field (empty if there is none), and the data for judging other answers."""


def example(question: str, world: World, asked: Asked, *, economy_seed: int, **source: int) -> dspy.Example:
    """The example of a question that was asked in `world`; `source` (year, run) is stored with the truth.

    UsageError for a question without an exact answer.
    """
    labels, truth = answer_of(question)(world, asked)
    everything = {**asked.inputs, **labels, "economy_seed": economy_seed, "truth": {**truth, **source}}
    return dspy.Example(**everything).with_inputs(*asked.inputs)


def answer_of(question: str) -> Callable[[World, Asked], Answered]:
    """The function that answers `question` exactly. UsageError lists the questions that have one."""
    if question not in ANSWERS:
        raise UsageError(f"{question} has no exact answer to learn from; choose one of {', '.join(ANSWERS)}")
    return ANSWERS[question]


def _hours(world: World, asked: Asked) -> Answered:
    """The whole hours that maximize the worker's utility, whatever the phase."""
    assert asked.agent is not None
    others = asked.others
    if others is None:
        windfall = world.windfall if world.config.income_effects else 0.0
        year = equilibrium(world.economy, asked.schedule, world.population.wage, windfall=windfall)
        others = year.rebate - float(year.tax[asked.agent]) / world.num_agents
    truth = {
        "agent": asked.agent,
        "wage": float(world.population.wage[asked.agent]),
        "rebate": others,
        "taxpayers": world.num_agents,
        "economy": world.config.economy,
        "dollars_of": world.config.dollars_of,
        **_law(asked.schedule),
    }
    if world.config.income_effects:
        truth["gamma"] = world.config.gamma
    for name in OWN:
        if (column := getattr(world.population, name)) is not None:
            truth[name] = float(column[asked.agent])
    return {"labor": best_hours(Work.of(truth))}, truth


def _rates(world: World, asked: Asked) -> Answered:
    """The change of rates with the highest welfare if every worker best-responds."""
    truth = {
        "wages": world.population.wage.tolist(),
        "economy": world.config.economy,
        "dollars_of": world.config.dollars_of,
        "welfare": world.config.welfare,
        "inequality_aversion": world.config.inequality_aversion,
        **_law(asked.schedule),
    }
    for name, own in OWN.items():
        if (column := getattr(world.population, name)) is not None:
            truth[own] = column.tolist()
    if world.config.income_effects:
        truth["gamma"] = world.config.gamma
    if world.windfall:
        truth["windfall"] = world.windfall
    if lowest := world.config.lowest_rate:
        truth["lowest_rate"] = lowest
    return {"rate_changes": list(reachable(People.of(truth), asked.schedule.rates).best)}, truth


def _vote(world: World, asked: Asked) -> Answered:
    """The candidate whose platform gives the voter the highest utility if every worker best-responds."""
    assert asked.agent is not None
    truth = {"agent": asked.agent, **prospects(world, asked.schedule, asked.agent, asked.platforms)}
    return {"vote": VoteScore.of(truth).best}, truth


def _persona(world: World, asked: Asked) -> Answered:
    """No text is exactly right, so the truth holds only the people to compare with: those with the closest figures."""
    assert asked.agent is not None
    others = [agent for agent, persona in enumerate(world.personas) if persona and agent != asked.agent]
    nearest = sorted(others, key=lambda agent: (abs(agent - (asked.agent or 0)), agent))[:NEIGHBOURS]
    return {}, {"agent": asked.agent, "neighbours": [world.personas[agent] for agent in sorted(nearest)]}


def _law(schedule: TaxSchedule) -> dict[str, list[float]]:
    return {"thresholds": list(schedule.thresholds), "rates": list(schedule.rates)}


ANSWERS: Mapping[str, Callable[[World, Asked], Answered]] = {
    "ChooseLabor": _hours,
    "SetTaxRates": _rates,
    "CastVote": _vote,
    "WritePersona": _persona,
}
"""The questions that can be learned and judged. Whether a tax policy satisfies a person has no exact answer."""


def game(question: str, config: RunConfig) -> RunConfig:
    """`config` with the fewest changes that make a run ask `question` and allow exact judgement."""
    if question == "CastVote":
        return replace(config, scenario="democratic", platforms=True, election_rule="plurality", planner_type="LLM")
    if question == "SetTaxRates":  # elected leaders get another question
        scenario = "bounded" if config.scenario == "democratic" else config.scenario
        return replace(config, scenario=scenario, platforms=False, planner_type="LLM")
    if question == "WritePersona" and config.scenario == "rational":
        return replace(config, scenario="bounded")
    return config
