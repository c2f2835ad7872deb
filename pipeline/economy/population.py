"""The agents of an economy: what an hour of their time earns, what they want, and who they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.economy.census import CENSUS_YEAR, IntArray, People, TextArray, draw_people
from pipeline.economy.cpi import inflation
from pipeline.economy.dollars import PAPER_YEAR
from pipeline.economy.wages import FULL_TIME_HOURS, MIN_WAGE, FloatArray, wages_uniform, wages_us_income
from signatures.types import Demographics

UTILITY_TYPES = ("egotistical", "altruistic", "adversarial")
"""Who cares for their own utility only, for social welfare as well, and for its opposite as well."""

COUPLING_POOL = 10_000
"""People and wages are matched by rank among at least so many: among five, a rank says little about a job."""

Draw = Callable[[int, np.random.Generator], FloatArray]
DrawWithPeople = Callable[[int, np.random.Generator, bool], tuple[FloatArray, People | None]]
"""(number of agents, generator, whether people are wanted) -> wages in dollars an hour, and the people."""


@dataclass(frozen=True)
class Mix:
    """Where wages come from, and the year in whose dollars they are drawn."""

    draw: DrawWithPeople
    dollars_of: int


@dataclass(frozen=True, eq=False)
class Population:
    """The agents 0..N-1, columnar: every array is (N,).

    `wage`: dollars an hour. `utility_type`: one of `UTILITY_TYPES`. `occupation` (a census label, in the
    plural), `sex` ("Male" or "Female") and `age` (years): all three, or None where agents are wages only.
    """

    wage: FloatArray
    utility_type: TextArray
    occupation: TextArray | None = None
    sex: TextArray | None = None
    age: IntArray | None = None

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in vars(self).items() if column is not None}
        if len(lengths) not in (2, 5) or len(set(lengths.values())) != 1:
            raise ValueError(f"a population has 2 or all 5 columns, of one length, not {lengths}")

    @property
    def num_agents(self) -> int:
        return len(self.wage)

    @property
    def income_at_40_hours(self) -> FloatArray:
        """(N,) dollars a year, before tax."""
        return self.wage * FULL_TIME_HOURS

    def demographics(self, agent: int) -> Demographics | None:
        """Who `agent` is; None where the agents are wages only."""
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
    """A population of one of the `POPULATIONS`.

    `dollars_of`: the year in whose dollars the wages are stated, by consumer prices; None: as they are drawn, in those
    of the mix's own year. `min_wage`: dollars an hour, of the same year; lower wages are raised to it.

    With `demographics`, every agent is a census person whose job fits the wage; `acs` has them either way,
    since its wages are theirs. Wages depend on `mix`, `num_agents` and `rng` alone: neither on `demographics`
    nor on the percentages. Each call draws anew: it spawns its generators from `rng`.

    Raises ValueError for an unknown mix, fewer than one agent, a `min_wage` below a cent, or percentages that do not
    add to 100, and KeyError for a year whose prices `CPI_U` does not have.
    """
    if mix not in POPULATIONS:
        raise ValueError(f"no population {mix!r}: choose one of {', '.join(POPULATIONS)}")
    if num_agents < 1:
        raise ValueError(f"a population has at least 1 agent, not {num_agents}")
    if not MIN_WAGE <= min_wage < math.inf:
        raise ValueError(f"the lowest wage is at least {MIN_WAGE} dollars an hour, not {min_wage}")
    counts = utility_type_counts(num_agents, percent_ego, percent_alt, percent_adv)
    wage_rng, type_rng = rng.spawn(2)
    utility_type = type_rng.permutation(np.repeat(np.array(UTILITY_TYPES, dtype=object), counts))
    drawn, people = POPULATIONS[mix].draw(num_agents, wage_rng, demographics)
    wage = np.maximum(drawn * inflation(POPULATIONS[mix].dollars_of, dollars_of), min_wage)
    if people is None:
        return Population(wage, utility_type)
    return Population(wage, utility_type, people.occupation, people.sex, people.age)


def utility_type_counts(num_agents: int, ego: float, alt: float, adv: float) -> list[int]:
    """Agents of each of the `UTILITY_TYPES` for their percentages, by largest remainder.

    >>> utility_type_counts(5, 50, 25, 25)
    [3, 1, 1]

    Of equal remainders the earlier type's is served first. Raises ValueError unless the percentages are 0 or
    more and add to 100.
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
    """A draw whose wages come from `draw_wages`; where people are wanted, each wage gets the one it fits."""

    def draw(num_agents: int, rng: np.random.Generator, demographics: bool) -> tuple[FloatArray, People | None]:
        wage_rng, more_rng, people_rng = rng.spawn(3)
        wage = draw_wages(num_agents, wage_rng)
        if not demographics:
            return wage, None
        pool = np.concatenate([wage, draw_wages(max(0, COUPLING_POOL - num_agents), more_rng)])
        return wage, couple_by_rank(pool, draw_people(len(pool), people_rng)).take(np.arange(num_agents))

    return draw


def couple_by_rank(wage: FloatArray, people: People) -> People:
    """`people` in another order: the best earner at the place of the highest wage, and so on down."""
    order = np.empty(len(wage), dtype=np.int64)
    order[np.argsort(wage, kind="stable")] = np.argsort(people.earnings, kind="stable")
    return people.take(order)


POPULATIONS: dict[str, Mix] = {
    "us_income": Mix(_wage_mix(wages_us_income), PAPER_YEAR),
    "uniform": Mix(_wage_mix(wages_uniform), PAPER_YEAR),
    "acs": Mix(_census_mix, CENSUS_YEAR),
}
"""The populations by name. Wages of `us_income` and `acs` are annual earnings divided by 2,080 hours. Those of `acs`
are of people who work full-time and all year; the GB2 fit behind `us_income` is to all earners, so that part-time and
part-year work looks like a low wage: 21.8 % are below 7.25 dollars an hour, of `acs` 4.1 %."""
