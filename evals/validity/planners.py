"""Check whether a planner finds the best rate in an economy with one rate and exact responses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from evals.validity.questionnaire import Ask, Panel, Reply
from evals.validity.scores import Finding, finding
from evals.validity.vignettes import crowd, linear, live
from pipeline.economy.baselines import Setting, objective
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.tax import BRACKETS
from pipeline.simulation.government import planner_inputs
from pipeline.simulation.world import World

WAGES = (8.0, 11.0, 14.0, 18.0, 23.0, 30.0, 40.0, 58.0, 95.0)

TAX_YEARS, FEWER = 10, 6
"""Tax years of a toy economy, the first of them at the initial rate."""

SETTLED = 1
"""Years of a tax year: workers respond to a rate at once."""


class Toy(NamedTuple):
    """A planner's objective by name, and its initial rate in percent."""

    welfare: str
    start: float


TOYS = (Toy("rawlsian", 20), Toy("utilitarian", 60), Toy("inverse_income", 90), Toy("equality_productivity", 80))


def toy(panel: Panel, full: bool) -> Finding:
    """Value: the share of the gain from the initial rate to the best one that the last rate reaches, 0 to 1. Without an
    answer the rate stays."""
    toys, years = (TOYS, TAX_YEARS) if full else (TOYS[:2], FEWER)
    worlds = [_begun(toy, years) for toy in toys]
    replies: list[Reply] = []
    for year in range(1, years):
        said = panel.ask(Ask("SetTaxRates", planner_inputs(world, year)) for world in worlds)
        replies += said
        for world, reply in zip(worlds, said, strict=True):
            if reply.answer is not None:
                world.schedule = world.schedule.changed(tuple(map(int, reply.answer.rate_changes)))
            _answer_exactly(world, year)
    ends = [world.schedule.rates[0] for world in worlds]
    values = [_share(toy, end) for toy, end in zip(toys, ends, strict=True)]
    told = "; ".join(
        f"{toy.welfare} from {toy.start:g} % to {end:g} %, best {best_rate(toy):g} %"
        for toy, end in zip(toys, ends, strict=True)
    )
    return finding(values, replies, told)


def _begun(toy: Toy, years: int) -> World:
    """The toy economy after its first year."""
    world = crowd(WAGES, welfare=toy.welfare, two_timescale=SETTLED, max_timesteps=years)
    world.schedule = linear(toy.start)
    _answer_exactly(world, 0)
    return world


def _answer_exactly(world: World, year: int) -> None:
    live(world, year, equilibrium(world.economy, world.schedule, world.population.wage).labor)


def _worth(toy: Toy, rate: float) -> float:
    economy = crowd(WAGES).economy
    return objective(Setting(economy, BRACKETS["flat"], np.array(WAGES), toy.welfare), linear(rate))


def best_rate(toy: Toy) -> float:
    """The best rate that a planner can reach, in percent."""
    return float(max(range(0, 101, 10), key=lambda rate: _worth(toy, rate)))


def _share(toy: Toy, end: float) -> float:
    start, best = _worth(toy, toy.start), _worth(toy, best_rate(toy))
    return float(np.clip((_worth(toy, end) - start) / (best - start), 0, 1))
