"""Planners and workers that need no language model: what a model's taxes and hours are compared with.

A baseline is a function from a `Setting` to a tax schedule, and one entry in `BASELINES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.economy import saez as saez_formula
from pipeline.economy.dollars import brackets_in, us_fed_in
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.oracle import Optimum, optimum
from pipeline.economy.tax import BRACKETS, FloatArray, uniform
from pipeline.economy.utility import Economy
from pipeline.economy.welfare import WELFARE, WelfareFunction, welfare_functions
from signatures.types import TaxSchedule

START_RATE = 50.0
"""Percent in every bracket: where every planner with a model begins."""

FIXED_HOURS = (40, 60)
"""The least and the most hours a week of workers who never change them."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What a baseline may look at.

    `thresholds`: the run's brackets, dollars a year. `wages` (N,): dollars an hour. `welfare`: a name in
    `WELFARE`. `elasticities`: one, or one for each bracket. `uniform_rate`: percent. `windfall`: dollars a year to
    each from outside, on top of the rebate. `dollars_of`: the year whose dollars all these are; None: no single one.
    `inequality_aversion`: of `atkinson`.
    """

    economy: Economy
    thresholds: tuple[float, ...]
    wages: FloatArray
    welfare: str = "inverse_income"
    elasticities: tuple[float, ...] = (0.4,)
    uniform_rate: float = 50.0
    windfall: float = 0.0
    dollars_of: int | None = None
    inequality_aversion: float = 1.0

    def __post_init__(self) -> None:
        if self.welfare not in WELFARE:
            raise ValueError(f"no welfare function {self.welfare!r}; there are {', '.join(WELFARE)}")

    @property
    def welfare_functions(self) -> dict[str, WelfareFunction]:
        """All welfare functions by name, as this setting has them."""
        return welfare_functions(self.inequality_aversion)

    @property
    def objective(self) -> WelfareFunction:
        """The welfare function that counts here."""
        return self.welfare_functions[self.welfare]

    def _content(self) -> tuple[object, ...]:
        return tuple(v.tobytes() if isinstance(v, np.ndarray) else v for v in vars(self).values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Setting) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())


def us_fed(setting: Setting) -> TaxSchedule:
    """The federal income tax of 2024, always on its own seven brackets; source at `pipeline.economy.tax.US_FED`."""
    return us_fed_in(setting.dollars_of)


def uniform_rate(setting: Setting) -> TaxSchedule:
    """The setting's one rate in every bracket."""
    return uniform(setting.thresholds, setting.uniform_rate)


def free_market(setting: Setting) -> TaxSchedule:
    """No tax and no rebate."""
    return uniform(setting.thresholds, 0.0)


@lru_cache(maxsize=64)
def saez(setting: Setting) -> TaxSchedule:
    """Saez (2001) rates on the run's brackets, with the setting's elasticities and its objective's weights."""
    return _saez(setting, setting.thresholds, setting.elasticities)


@lru_cache(maxsize=64)
def saez_flat(setting: Setting) -> TaxSchedule:
    """The optimal linear tax at elasticity 0.4: one rate on every dollar, written on the run's brackets."""
    flat = _saez(setting, BRACKETS["flat"], (0.4,))
    return uniform(setting.thresholds, flat.rates[0])


@lru_cache(maxsize=64)
def saez_three(setting: Setting) -> TaxSchedule:
    """Saez (2001) rates on the brackets `three`, always, at the elasticities 0.18, 0.11 and 0.57 of the LLM
    Economist's baseline (Karten et al. 2025, arXiv 2507.15815)."""
    return _saez(setting, brackets_in("three", setting.dollars_of), (0.18, 0.11, 0.57))


def _saez(setting: Setting, thresholds: tuple[float, ...], elasticities: tuple[float, ...]) -> TaxSchedule:
    return saez_formula.saez(
        setting.economy,
        thresholds,
        setting.wages,
        elasticities,
        welfare=setting.welfare,
        inequality_aversion=setting.inequality_aversion,
        windfall=setting.windfall,
    )


BASELINE_RULES: dict[str, Callable[[Setting], TaxSchedule]] = {
    "US_FED": us_fed,
    "UNIFORM": uniform_rate,
    "FREE_MARKET": free_market,
    "SAEZ": saez,
    "SAEZ_FLAT": saez_flat,
    "SAEZ_THREE": saez_three,
}
"""The planners that follow a rule; the oracle is at least as good as all of them."""


def _with_windfall(setting: Setting) -> WelfareFunction:
    """The objective for utilities that lack the windfall."""
    objective = setting.objective
    return lambda utility, income, wage: objective(utility + setting.windfall, income, wage)


@lru_cache(maxsize=64)
def certified_oracle(setting: Setting, rivals: tuple[TaxSchedule, ...] = ()) -> Optimum:
    """The best schedule on the run's brackets for workers who best-respond, and why it is taken for the best.

    Never below another baseline or one of the `rivals` on these brackets. It can take seconds: remembered for the
    settings asked about last.
    """
    every = [*(rule(setting) for rule in BASELINE_RULES.values()), *rivals]
    return optimum(setting.economy, setting.thresholds, setting.wages, _with_windfall(setting), every)


def oracle(setting: Setting) -> TaxSchedule:
    """The optimum: the best schedule on the run's brackets, at any rates."""
    return certified_oracle(setting).schedule


def oracle_grid(setting: Setting) -> TaxSchedule:
    """The best schedule that a planner can reach from 50 percent in its own ten-point steps."""
    return certified_oracle(setting).certificate.grid


BASELINES: dict[str, Callable[[Setting], TaxSchedule]] = {
    **BASELINE_RULES,
    "ORACLE_GRID": oracle_grid,
    "ORACLE": oracle,
}
"""Every planner that needs no language model, by the name that `--planner-type` takes."""


def fixed_hours(num_agents: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Hours a week (num_agents,), drawn once, whole numbers from 40 to 60: the FIXED worker of the LLM Economist.

    >>> fixed_hours(3, np.random.default_rng(0))
    array([57, 53, 50])
    """
    return rng.integers(*FIXED_HOURS, size=num_agents, endpoint=True)


def start_and_oracle(setting: Setting) -> tuple[TaxSchedule, TaxSchedule, TaxSchedule]:
    """Where every planner with a model begins, the best schedule on its grid, and ORACLE's, the best of all.

    A planner's share is measured between the first and the last.
    """
    return uniform(setting.thresholds, START_RATE), oracle_grid(setting), oracle(setting)


def objective(setting: Setting, schedule: TaxSchedule) -> float:
    """The setting's welfare function, in its unit, if every worker best-responds to `schedule`."""
    best = equilibrium(setting.economy, schedule, setting.wages, windfall=setting.windfall)
    return float(setting.objective(best.utility, best.income, setting.wages))
