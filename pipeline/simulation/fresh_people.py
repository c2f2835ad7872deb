"""Fresh people: an out-of-sample population on which the tax law of a run is evaluated.

A law that is optimal for a few workers is fitted to their wages. Its value for the population shows among others:
`FRESH_PEOPLE` people drawn with the same settings (mix, minimum wage, dollars of a year) from a random stream of its
own, the run's seed with the purpose "fresh people". A run therefore always has the same fresh people, and runs with the
same population and seed share them. They best-respond and share their revenue.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from pipeline.economy.baselines import Setting, objective
from pipeline.economy.effort import FULL_TIME, Economy, with_own
from pipeline.economy.population import Population
from pipeline.economy.wages import FloatArray
from pipeline.shocks import Shock
from pipeline.simulation.shocks.effects import expose
from pipeline.simulation.world import World, drawn
from signatures.types import TaxSchedule

FRESH_PEOPLE = 2_000

SUMS = ("paper",)
"""Welfare functions that are sums over people; their values are scaled to the run's number of people."""

BY_NUMBER = "No figures on fresh people: a shock on wages selects workers by number, and fresh people have others."


@dataclass(frozen=True)
class FreshPeople:
    """The `setting` of a run with fresh people. `people`: the number of people in the run."""

    setting: Setting
    people: int

    def worth(self, law: TaxSchedule, welfare: str = "") -> float:
        """The objective, or the welfare function named `welfare`, if all fresh people best-respond to `law`.

        In dollars per person per year; a sum over people (`SUMS`) is scaled to `people`.
        """
        name = welfare or self.setting.welfare
        value = _worth(replace(self.setting, welfare=name), law)
        return value * self.people / len(self.setting.wages) if name in SUMS else value


def fresh_people(
    world: World, year: int | None = None, *, people: int = FRESH_PEOPLE, purpose: str = "fresh people"
) -> FreshPeople | None:
    """Fresh people for `world` in `year`, or now, under the shocks in force.

    `people`: their number. `purpose`: each has a random stream of its own. None if a shock on wages selects workers by
    their number, which `BY_NUMBER` explains.
    """
    active = world.active if year is None else world.exposure.active(year)
    on_wages = tuple(shock for shock in active if shock.target == "wages")
    if any(_names_workers(shock.condition or "") for shock in on_wages):
        return None
    population = drawn(world.config, people, purpose)
    setting = world.setting(year)
    economy = with_own(setting.economy, vars(population))
    return FreshPeople(replace(setting, economy=economy, wages=_wages(population, on_wages)), world.num_agents)


def with_elasticity(economy: Economy, elasticity: float) -> Economy:
    """`economy` in which all workers have the same `elasticity` of hours; their marginal cost of the 40th hour stays.

    >>> with_elasticity(Economy(), 0.4) == Economy(), round(with_elasticity(Economy(), 0.8).elasticity, 6)
    (True, 0.8)
    """
    delta = 1 + 1 / elasticity
    c = economy.c * economy.delta / delta * FULL_TIME ** (economy.delta - delta)
    return replace(economy, delta=delta, c=c, elasticities=None)


def _names_workers(condition: str) -> bool:
    """Whether a condition refers to the column `agent`, outside of quotes."""
    return re.search(r"\bagent\b", re.sub(r"'[^']*'", "", condition), re.I) is not None


def _wages(population: Population, shocks: tuple[Shock, ...]) -> FloatArray:
    """Wages of the people (N,), in dollars an hour, while all `shocks` are in force."""
    return expose(shocks, population).wages(max((shock.first for shock in shocks), default=0))


@lru_cache(maxsize=4096)
def _worth(setting: Setting, law: TaxSchedule) -> float:
    return objective(setting, law)
