"""The population of an economy: wages, utility types and demographics."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.economy.census import CENSUS_YEAR, IntArray, People, TextArray, draw_people
from pipeline.economy.effort import OWN
from pipeline.economy.laws.cpi import inflation
from pipeline.economy.laws.dollars import PAPER_YEAR
from pipeline.economy.wages import FULL_TIME_HOURS, MIN_WAGE, FloatArray, wages_uniform, wages_us_income
from signatures.types import Demographics

UTILITY_TYPES = ("egotistical", "altruistic", "adversarial")
"""What workers maximize: their own utility, social welfare, or the negative of social welfare."""

COUPLING_POOL = 10_000
"""Minimum number of draws among which people and wages are matched by rank: among five, ranks say little."""

Draw = Callable[[int, np.random.Generator], FloatArray]
DrawWithPeople = Callable[[int, np.random.Generator, bool], tuple[FloatArray, People | None]]
"""(number of agents, generator, whether to draw people) -> wages in dollars an hour, and people or None."""


@dataclass(frozen=True)
class Mix:
    """A distribution of wages, and the year in whose dollars they are drawn."""

    draw: DrawWithPeople
    dollars_of: int


@dataclass(frozen=True, eq=False)
class Population:
    """The agents 0 to N-1 as columns: every array is (N,).

    `wage`: dollars an hour. `utility_type`: one of `UTILITY_TYPES`. `occupation` (a census label, in the
    plural), `sex` ("Male" or "Female") and `age` (years): all three, or all None if agents have no demographics.
    `taste`: each agent's factor on the cost of effort; None if all have the same taste for leisure. `elasticity`: each
    agent's elasticity of hours; None if all have the same. `participation_cost`: what each agent loses if it works at
    all, dollars a year; None if no one does.
    """

    wage: FloatArray
    utility_type: TextArray
    occupation: TextArray | None = None
    sex: TextArray | None = None
    age: IntArray | None = None
    taste: FloatArray | None = None
    elasticity: FloatArray | None = None
    participation_cost: FloatArray | None = None

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in vars(self).items() if column is not None}
        if len(lengths.keys() - OWN.keys()) not in (2, 5) or len(set(lengths.values())) != 1:
            raise ValueError(f"a population has 2 or all 5 columns, all of the same length, not {lengths}")

    @property
    def num_agents(self) -> int:
        return len(self.wage)

    @property
    def income_at_40_hours(self) -> FloatArray:
        """(N,) dollars a year, before tax."""
        return self.wage * FULL_TIME_HOURS

    def demographics(self, agent: int) -> Demographics | None:
        """The demographics of `agent`, or None if the population has none."""
        if self.occupation is None or self.sex is None or self.age is None:
            return None
        return Demographics(occupation=self.occupation[agent], sex=self.sex[agent], age=int(self.age[agent]))


def draw_population(
    mix: str,
    num_agents: int,
    rng: np.random.Generator,
    *,
    demographics: bool,
    percent_ego: float = 100,
    percent_alt: float = 0,
    percent_adv: float = 0,
    dollars_of: int | None = None,
    min_wage: float = MIN_WAGE,
) -> Population:
    """Draw a population from one of the `POPULATIONS`.

    `dollars_of`: the year in whose dollars wages are stated, by consumer prices; None: the mix's own year.
    `min_wage`: dollars an hour of the same year; lower wages are raised to it.

    With `demographics`, every agent is a census person whose job fits the wage; `acs` always has them, because its
    wages are those people's. Wages depend on `mix`, `num_agents` and `rng` only, not on `demographics` or the
    percentages. Each call gives a new draw: it spawns its generators from `rng`.

    Raises ValueError for an unknown mix, fewer than one agent, a `min_wage` below a cent, or percentages that do not
    add to 100, and KeyError for a year that is not in `CPI_U`.
    """
    if mix not in POPULATIONS:
        raise ValueError(f"unknown population {mix!r}: choose one of {', '.join(POPULATIONS)}")
    if num_agents < 1:
        raise ValueError(f"a population needs at least 1 agent, not {num_agents}")
    if not MIN_WAGE <= min_wage < math.inf:
        raise ValueError(f"the minimum wage must be at least {MIN_WAGE} dollars an hour, not {min_wage}")
    counts = utility_type_counts(num_agents, percent_ego, percent_alt, percent_adv)
    wage_rng, type_rng = rng.spawn(2)
    utility_type = type_rng.permutation(np.repeat(np.array(UTILITY_TYPES, dtype=object), counts))
    drawn, people = POPULATIONS[mix].draw(num_agents, wage_rng, demographics)
    wage = np.maximum(drawn * inflation(POPULATIONS[mix].dollars_of, dollars_of), min_wage)
    if people is None:
        return Population(wage, utility_type)
    return Population(wage, utility_type, people.occupation, people.sex, people.age)


LEAST_TASTE = 0.05
"""The least factor on the cost of effort."""


def draw_tastes(num_agents: int, spread: float, rng: np.random.Generator) -> FloatArray:
    """Draw factors (num_agents,) on the cost of effort: lognormal with mean one, `spread` being the standard deviation
    of the logarithm. Two digits after the point, as they are told in words.

    >>> draw_tastes(3, 0.5, np.random.default_rng(1))
    array([1.05, 1.33, 1.04])
    """
    drawn = np.exp(spread * rng.standard_normal(num_agents) - spread**2 / 2)
    return np.maximum(drawn.round(2), LEAST_TASTE)


LEAST_ELASTICITY, MOST_ELASTICITY = 0.05, 5.0
"""Bounds of a worker's own elasticity of hours."""


def draw_elasticities(num_agents: int, mean: float, spread: float, rng: np.random.Generator) -> FloatArray:
    """Draw elasticities of hours (num_agents,): lognormal with this mean and standard deviation `spread`.

    They have two digits after the point and are kept between `LEAST_ELASTICITY` and `MOST_ELASTICITY`.

    >>> draw_elasticities(3, 0.4, 0.1, np.random.default_rng(1))
    array([0.42, 0.48, 0.42])
    """
    log_variance = math.log1p((spread / mean) ** 2)
    drawn = mean * np.exp(math.sqrt(log_variance) * rng.standard_normal(num_agents) - log_variance / 2)
    return drawn.round(2).clip(LEAST_ELASTICITY, MOST_ELASTICITY)


def draw_participation_costs(num_agents: int, mean: float, rng: np.random.Generator) -> FloatArray:
    """Draw fixed costs of work (num_agents,), dollars a year: exponential with this mean, in whole dollars as told.

    >>> draw_participation_costs(3, 5_000, np.random.default_rng(1))
    array([ 5365.,  1542., 26877.])
    """
    return np.asarray(rng.exponential(mean, num_agents).round())


def utility_type_counts(num_agents: int, ego: float, alt: float, adv: float) -> list[int]:
    """The number of agents of each of the `UTILITY_TYPES`, given percentages, by the largest remainder method.

    >>> utility_type_counts(5, 50, 25, 25)
    [3, 1, 1]

    Ties between remainders go to the earlier type. Raises ValueError unless the percentages are 0 or more and add
    to 100.
    """
    percents = (ego, alt, adv)
    if not math.isclose(math.fsum(percents), 100, abs_tol=1e-6) or min(percents) < 0:
        raise ValueError(
            f"percent-ego {ego:g}, percent-alt {alt:g} and percent-adv {adv:g} must be 0 or more "
            f"and add to 100, not to {math.fsum(percents):g}"
        )
    quotas = [num_agents * percent / 100 for percent in percents]
    counts = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(quotas)), key=lambda kind: counts[kind] - quotas[kind])
    for kind in by_remainder[: num_agents - sum(counts)]:
        counts[kind] += 1
    return counts


def _census_mix(num_agents: int, rng: np.random.Generator, demographics: bool) -> tuple[FloatArray, People]:
    people = draw_people(num_agents, rng)
    return people.earnings / FULL_TIME_HOURS, people


def _wage_mix(draw_wages: Draw) -> DrawWithPeople:
    """A draw with wages from `draw_wages`; people, if requested, are matched to wages by rank."""

    def draw(num_agents: int, rng: np.random.Generator, demographics: bool) -> tuple[FloatArray, People | None]:
        wage_rng, more_rng, people_rng = rng.spawn(3)
        wage = draw_wages(num_agents, wage_rng)
        if not demographics:
            return wage, None
        pool = np.concatenate([wage, draw_wages(max(0, COUPLING_POOL - num_agents), more_rng)])
        return wage, couple_by_rank(pool, draw_people(len(pool), people_rng)).take(np.arange(num_agents))

    return draw


def couple_by_rank(wage: FloatArray, people: People) -> People:
    """`people` reordered so that ranks match: the person with the highest earnings gets the highest wage."""
    order = np.empty(len(wage), dtype=np.int64)
    order[np.argsort(wage, kind="stable")] = np.argsort(people.earnings, kind="stable")
    return people.take(order)


POPULATIONS: dict[str, Mix] = {
    "us_income": Mix(_wage_mix(wages_us_income), PAPER_YEAR),
    "uniform": Mix(_wage_mix(wages_uniform), PAPER_YEAR),
    "acs": Mix(_census_mix, CENSUS_YEAR),
}
"""The populations by name. Wages of `us_income` and `acs` are annual earnings divided by 2,080 hours. `acs` has people
who work full-time and all year. The GB2 distribution behind `us_income` is fitted to all earners, so part-time and
part-year work looks like a low wage: 21.8 % of its wages are below 7.25 dollars an hour, against 4.1 % for `acs`."""
