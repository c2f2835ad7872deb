"""Policies for the same people under every welfare function: ranks, and the front of equality and output.

A policy is what a run played, or a law to which every worker best-responds. Figures are exact: utilities and incomes
come from the trace or from the solved economy; nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.economy.baselines import BASELINE_RULES, BASELINES, Setting, certified_oracle, computable, start
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.tax import FloatArray
from pipeline.economy.welfare import gini
from signatures.types import TaxSchedule


@dataclass(frozen=True, eq=False)
class Years:
    """Years of a run as played, (Y, N) except `year` (Y,). `utility` as it counts in the objective.

    Money in dollars a year; `posttax` includes the rebate; `regret`: the cost of the worker's own choice of hours.
    `wage`: dollars an hour, as in force in the year.
    """

    year: NDArray[np.int64]
    wage: FloatArray
    utility: FloatArray
    income: FloatArray
    posttax: FloatArray
    regret: FloatArray

    def only(self, first: int, last: int) -> Years:
        """The years from `first` to `last`."""
        rows = (self.year >= first) & (self.year <= last)
        return Years(*(values[rows] for values in vars(self).values()))


@dataclass(frozen=True)
class Policy:
    """A policy and its value under each welfare function, in the function's unit.

    `names`: all its names, because several rules can set the same law. `run_id`: the run that played it; None for a law
    to which every worker best-responds. `equality` is 1 - gini of income after tax and rebate, `output` mean income
    before tax in dollars a year.
    """

    names: tuple[str, ...]
    run_id: int | None
    rates: tuple[float, ...] | None
    welfare: Mapping[str, float]
    equality: float
    output: float

    @property
    def label(self) -> str:
        """All names in one."""
        return " = ".join(self.names)


def as_played(name: str, run_id: int, years: Years, functions: Sequence[str], setting: Setting) -> Policy:
    """The means over `years` of each welfare function, of equality and of output, recomputed from the trace."""
    values = {one: float(np.mean(setting.function(one)(years.utility, years.income, years.wage))) for one in functions}
    equality = 1 - float(np.mean(gini(years.posttax)))
    return Policy((name,), run_id, None, values, equality, float(years.income.mean()))


def by_law(names: Sequence[str], setting: Setting, law: TaxSchedule, functions: Sequence[str]) -> Policy:
    """The value of `law` if every worker best-responds and is satisfied."""
    year = equilibrium(setting.economy, law, setting.wages, windfall=setting.windfall)
    values = {one: float(setting.function(one)(year.utility, year.income, setting.wages)) for one in functions}
    return Policy(tuple(names), None, law.rates, values, 1 - float(gini(year.posttax)), float(year.income.mean()))


def laws(setting: Setting, functions: Sequence[str]) -> dict[TaxSchedule, list[str]]:
    """Every baseline's law for these people and ORACLE's for each welfare function, with all names of the law.

    ORACLE_GRID, the best schedule on the planner's ten-point grid, is for the objective, if `functions` includes it.
    """
    found: dict[TaxSchedule, list[str]] = {start(setting): ["start"]}
    for name, rule in computable(setting, BASELINE_RULES).items():
        found.setdefault(rule(setting), []).append(name)
    for one, law in oracles(setting, functions).items():
        found.setdefault(law, []).append(f"ORACLE of {one}")
    if setting.welfare in functions:
        found.setdefault(BASELINES["ORACLE_GRID"](setting), []).append(f"ORACLE_GRID of {setting.welfare}")
    return found


def oracles(setting: Setting, functions: Sequence[str]) -> dict[str, TaxSchedule]:
    """ORACLE's law for each welfare function, the optimum at any rates. None is beaten in its own function by the law
    for another one, which would be a better starting point for refinement.
    """
    found = {one: BASELINES["ORACLE"](replace(setting, welfare=one)) for one in functions}
    for one in functions:
        values = {law: by_law((), setting, law, [one]).welfare[one] for law in found.values()}
        if max(values.values()) > values[found[one]]:
            found[one] = certified_oracle(replace(setting, welfare=one), tuple(values)).schedule
    return found


def ranks(policies: Sequence[Policy], name: str) -> list[int]:
    """The rank of each policy under a welfare function, from 1; differences by rounding error share a rank.

    >>> one, two = (Policy((), None, None, {"utilitarian": x}, 0, 0) for x in (1.0, 2.0))
    >>> ranks([one, two, two], "utilitarian")
    [3, 1, 1]
    """
    values = [policy.welfare[name] for policy in policies]
    return [1 + sum(other > value + 1e-9 * abs(value) for other in values) for value in values]


def on_front(policies: Sequence[Policy]) -> list[bool]:
    """Whether no other policy has at least as much of equality and of output, and more of one of them."""
    points = [(policy.equality, policy.output) for policy in policies]
    return [not any(_dominates(other, point) for other in points) for point in points]


def _dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] >= other[0] and one[1] >= other[1]
