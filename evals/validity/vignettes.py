"""Small economies for a card's questions: who lives there, their records, and the law.

All prompts come from the functions that a run uses to show agents their world. People have tried hours on both sides of
the best, in random order and with the best at a random position, so that reading the record answers as well as
computing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar
from zlib import crc32

import numpy as np

from pipeline.config import RunConfig
from pipeline.economy.equilibrium import equilibrium, settle
from pipeline.economy.population import Population
from pipeline.economy.tax import BRACKETS
from pipeline.economy.utility import MAX_HOURS
from pipeline.simulation.memory import Floats
from pipeline.simulation.persona_template import template_persona
from pipeline.simulation.world import World, create
from signatures.types import TaxSchedule

TRIED, STEP = 8, 2
"""Number of different hours that each worker has tried under the current law, and the distance between them."""

TAX_YEAR = TRIED + 1
"""Years between two changes of the law: in the last of them workers are told to choose their best hours."""


@dataclass(frozen=True)
class Person:
    """A person of a village: `wage` in dollars an hour, and census characteristics."""

    wage: float
    occupation: str
    sex: str
    age: int


SEED = 1
"""Seed of the hours tried: the same for every model, so that cards are comparable."""

THREE = BRACKETS["three"]


def linear(rate: float) -> TaxSchedule:
    """One rate, in percent, on every dollar: the best hours under it have a closed form."""
    return TaxSchedule(thresholds=BRACKETS["flat"], rates=(rate,))


Layouts = tuple[tuple[str, str], ...]
"""The layout of the observations by role."""

_shown_in: ContextVar[Layouts] = ContextVar("shown_in", default=())
"""The layouts of the card that is being made."""

Made = TypeVar("Made")


@contextmanager
def shown_in(layouts: Mapping[str, str]) -> Iterator[None]:
    """Have the questions that are built meanwhile show their observations in these layouts by role."""
    token = _shown_in.set(tuple(sorted(layouts.items())))
    try:
        yield
    finally:
        _shown_in.reset(token)


def built_once(build: Callable[..., Made]) -> Callable[..., Made]:
    """Build questions once for each layout and arguments, like `functools.cache`."""

    @cache
    def built(layouts: Layouts, *arguments: Any) -> Made:
        return build(*arguments)

    return lambda *arguments: built(_shown_in.get(), *arguments)


def _plain(num_agents: int) -> RunConfig:
    return RunConfig(llm="rules", num_agents=num_agents, two_timescale=TAX_YEAR, layout=dict(_shown_in.get()))


def crowd(wages: Sequence[float], *, money: float = 1, **settings: Any) -> World:
    """Workers described only by their `wages`, in the scenario `rational` unless `settings` say otherwise.

    `money`: the factor on all amounts of money in this world.
    """
    config = replace(_plain(len(wages)), **{"bracket_setting": "flat", **settings})
    kinds = np.array(["egotistical"] * len(wages), dtype=object)
    world = create(config, Population(np.array(wages) * money, kinds))
    world.economy = replace(world.economy, c=world.economy.c * money)
    return world


def village(people: Sequence[Person], schedule: TaxSchedule, **settings: Any) -> World:
    """`people` with their plain personas, under `schedule`, in the scenario `bounded` unless `settings` say
    otherwise."""
    config = replace(_plain(len(people)), **{"scenario": "bounded", **settings})
    columns = {
        name: np.array([getattr(one, name) for one in people], dtype=object) for name in ("occupation", "sex", "age")
    }
    kinds = np.array(["egotistical"] * len(people), dtype=object)
    world = create(config, Population(np.array([one.wage for one in people]), kinds, **columns))
    world.schedule = schedule
    for agent in range(len(people)):
        person = world.population.demographics(agent)
        assert person is not None
        world.personas[agent] = template_persona(person, people[agent].wage)
    return world


def live(world: World, year: int, hours: Floats) -> None:
    """Play one year in which the workers work `hours` (N,); workers and planner remember it."""
    outcome = settle(world.economy, world.schedule, world.population.wage, hours)
    welfare = float(world.setting().objective(outcome.utility, outcome.income, world.population.wage))
    world.hours, world.judged = hours, outcome.utility
    world.remember_workers(year, outcome, outcome.utility)
    world.remember_planner(year, world.schedule, welfare)


def try_hours(world: World, first: int, *, seed: int) -> int:
    """Play years from `first` on in which workers try hours around their best; return the year after them."""
    rng = np.random.default_rng([seed, crc32(repr(world.schedule).encode()), first])
    best = np.rint(equilibrium(world.economy, world.schedule, world.population.wage).labor)
    below = rng.integers(STEP, STEP * (TRIED - 1) - 1, world.num_agents)
    lowest = np.clip(best - below, 0, MAX_HOURS - STEP * TRIED)
    tried = np.array([low + STEP * rng.permutation(TRIED) for low in lowest]).T
    for year, hours in enumerate(tried, first):
        live(world, year, hours)
    return first + TRIED
