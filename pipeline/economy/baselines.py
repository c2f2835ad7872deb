"""Baseline planners and workers without a language model, with which a model's taxes and hours are compared.

A baseline is a function from a `Setting` to a tax schedule and one entry in `BASELINES`; a user's own one needs no
entry (user_parts/law.py). `RATES`, a law that never changes, and `SAEZ_MEASURED` are in `planner_rule`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.economy import saez as saez_formula
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.laws.dollars import brackets_in, us_fed_in
from pipeline.economy.oracle import Optimum, optimum
from pipeline.economy.tax import BRACKETS, FloatArray, uniform
from pipeline.economy.user_parts.law import own_law
from pipeline.economy.utility import Economy
from pipeline.economy.welfare import WELFARE, WelfareFunction, welfare_function, welfare_functions
from pipeline.economy.welfare_weights import has_weights
from programs.plugins import TAX_LAW, Parts
from signatures.types import TaxSchedule

START_RATE = 50.0
"""The rate in percent, in every bracket, from which a planner with a model starts if the settings name no law."""

FIXED_HOURS = (40, 60)
"""Range of hours a week of workers whose hours never change."""


@dataclass(frozen=True, eq=False)
class Setting:
    """The economy as a baseline sees it.

    `thresholds`: the run's brackets, dollars a year. `wages` (N,): dollars an hour. `welfare`: a name in
    `WELFARE`. `elasticities`: one, one per bracket, or none: the workers' own.
    `uniform_rate`: percent. `windfall`: dollars a year that each
    worker gets from outside, on top of the rebate. `dollars_of`: the base year of all amounts; None: each amount has
    its own. `inequality_aversion`: for `atkinson`. `rates`: percent by bracket, of the planner `RATES`, or of the law
    that another planner starts from. `planner`: who sets the rates, by its name in `--planner-type`.
    `spending`: dollars a year that public spending takes from each worker, which `windfall` includes. `measured`: the
    elasticity that the run's workers showed in earlier years, for `SAEZ_MEASURED`; None while it is unknown.
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
    rates: tuple[float, ...] = ()
    planner: str = "LLM"
    spending: float = 0.0
    measured: float | None = None

    def __post_init__(self) -> None:
        if self.welfare not in WELFARE:
            raise ValueError(f"unknown welfare function {self.welfare!r}; expected one of {', '.join(WELFARE)}")

    @property
    def welfare_functions(self) -> dict[str, WelfareFunction]:
        """All built-in welfare functions by name, with this setting's inequality aversion, and the objective."""
        return {**welfare_functions(self.inequality_aversion), self.welfare: self.objective}

    @property
    def objective(self) -> WelfareFunction:
        """The welfare function that is the objective."""
        return self.function(self.welfare)

    def function(self, name: str) -> WelfareFunction:
        """The welfare function called `name`, built in or the user's own, with this setting's inequality aversion."""
        return welfare_function(name, self.inequality_aversion)

    def _content(self) -> tuple[object, ...]:
        values = (v.tobytes() if isinstance(v, np.ndarray) else v for v in vars(self).values())
        return *values, WELFARE[self.welfare]  # a user's own function may be another one under the same name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Setting) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())


def us_fed(setting: Setting) -> TaxSchedule:
    """The federal income tax of 2024, always on its own seven brackets; source: `pipeline.economy.tax.US_FED`."""
    return us_fed_in(setting.dollars_of)


def uniform_rate(setting: Setting) -> TaxSchedule:
    """The same rate, `uniform_rate`, in every bracket."""
    return uniform(setting.thresholds, setting.uniform_rate)


def free_market(setting: Setting) -> TaxSchedule:
    """No tax and no rebate; with public spending (`--spending`), a poll tax that pays for it."""
    return uniform(setting.thresholds, 0.0)


@lru_cache(maxsize=64)
def saez(setting: Setting) -> TaxSchedule:
    """Saez (2001) rates on the run's brackets, with the setting's elasticities and its objective's weights."""
    return _saez(setting, setting.thresholds, setting.elasticities)


@lru_cache(maxsize=64)
def saez_2002(setting: Setting) -> TaxSchedule:
    """Saez (2002) rates on the run's brackets: as `saez`, and taxes make workers with a fixed cost of work stop."""
    return _saez(setting, setting.thresholds, setting.elasticities, extensive=True)


@lru_cache(maxsize=64)
def saez_flat(setting: Setting) -> TaxSchedule:
    """The optimal linear tax at elasticity 0.4, written on the run's brackets."""
    flat = _saez(setting, BRACKETS["flat"], (0.4,))
    return uniform(setting.thresholds, flat.rates[0])


@lru_cache(maxsize=64)
def saez_three(setting: Setting) -> TaxSchedule:
    """Saez (2001) rates, always on the brackets `three`, with the elasticities 0.18, 0.11 and 0.57 of the LLM
    Economist's baseline (Karten et al. 2025, arXiv 2507.15815)."""
    return _saez(setting, brackets_in("three", setting.dollars_of), (0.18, 0.11, 0.57))


def _saez(
    setting: Setting, thresholds: tuple[float, ...], elasticities: tuple[float, ...], *, extensive: bool = False
) -> TaxSchedule:
    return saez_formula.saez(
        setting.economy,
        thresholds,
        setting.wages,
        elasticities,
        welfare=setting.welfare,
        inequality_aversion=setting.inequality_aversion,
        windfall=setting.windfall,
        extensive=extensive,
    )


Rule = Callable[[Setting], TaxSchedule]

BASELINE_RULES: dict[str, Rule] = {
    "US_FED": us_fed,
    "UNIFORM": uniform_rate,
    "FREE_MARKET": free_market,
    "SAEZ": saez,
    "SAEZ_FLAT": saez_flat,
    "SAEZ_THREE": saez_three,
}
"""The baselines other than the oracle, which is at least as good as each of them."""

EXTENSIVE = "SAEZ_2002"
"""The baseline that needs fixed costs of work; without them it is `SAEZ`."""

FORMULAS = ("SAEZ", EXTENSIVE, "SAEZ_FLAT", "SAEZ_THREE", "SAEZ_MEASURED")
"""The baselines that need the welfare weights of the objective."""

FIXED = "RATES"
"""The planner whose law is the setting's `rates` and never changes."""


MEASURED = "SAEZ_MEASURED"
"""The planner whose law follows the elasticity that the run's own workers showed. Without a run it is `SAEZ`."""


def saez_measured(setting: Setting) -> TaxSchedule:
    """Saez (2001) rates with the measured elasticity, or with the setting's elasticities while none is known."""
    return saez(setting if setting.measured is None else replace(setting, elasticities=(setting.measured,)))


def fixed_rates(setting: Setting) -> TaxSchedule:
    """The setting's own `rates`, one per bracket."""
    return TaxSchedule(thresholds=setting.thresholds, rates=setting.rates)


def start(setting: Setting) -> TaxSchedule:
    """The schedule before the planner's first decision: the law that the settings name, or 50 percent everywhere."""
    if setting.rates and setting.planner != FIXED:
        return fixed_rates(setting)
    return uniform(setting.thresholds, START_RATE)


def start_in_words(setting: Setting) -> str:
    """`start (50 %)`, or `start (the law)` if the settings name one."""
    return "start (the law)" if setting.rates and setting.planner != FIXED else f"start ({START_RATE:g} %)"


def computable(setting: Setting, rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """Those of the `rules` that can be computed for the objective, and the law of the setting's own planner.

    A user's own welfare function without weights has no SAEZ rates, nor has an economy with income effects. The
    planner's law is added if it stays the same:
    `RATES`, or a law of the user's that does not depend on the year. `SAEZ_2002` is among them, and always is, if work
    has a fixed cost.
    """
    every: dict[str, Rule] = {**rules, EXTENSIVE: saez_2002}
    if setting.economy.participation_costs is None:
        del every[EXTENSIVE]
    formulas = has_weights(setting.welfare) and not setting.economy.gamma
    known = {name: rule for name, rule in every.items() if name not in FORMULAS or formulas}
    if setting.rates:
        known[FIXED] = fixed_rates
    own = BASELINES.get(setting.planner) if setting.planner not in BASELINES.builtin else None
    if own is not None and not getattr(own, "yearly", False):
        # the law may itself ask for a benchmark, which must not ask for the law
        known[setting.planner] = lambda here: own(replace(here, planner="LLM"))
    return known


@lru_cache(maxsize=64)
def certified_oracle(setting: Setting, rivals: tuple[TaxSchedule, ...] = ()) -> Optimum:
    """The best schedule on the run's brackets for workers who best-respond, with its certificate.

    It is at least as good as every baseline and every one of the `rivals` on these brackets. The search can take
    seconds; the results for recent settings are cached.
    """
    every = [*(rule(setting) for rule in computable(setting, BASELINE_RULES).values()), *rivals]
    return optimum(
        setting.economy, setting.thresholds, setting.wages, setting.objective, every, windfall=setting.windfall
    )


def oracle(setting: Setting) -> TaxSchedule:
    """The Stackelberg optimum: the best schedule on the run's brackets."""
    return certified_oracle(setting).schedule


def oracle_grid(setting: Setting) -> TaxSchedule:
    """The best schedule that a planner can reach from 50 percent in its own ten-point steps."""
    return certified_oracle(setting).certificate.grid


BASELINES: Parts[Rule] = Parts(
    TAX_LAW, {**BASELINE_RULES, EXTENSIVE: saez_2002, "ORACLE_GRID": oracle_grid, "ORACLE": oracle}, own_law
)
"""All planners without a language model, by their `--planner-type`, but for `RATES` and `SAEZ_MEASURED`, which need
a run's own figures."""


def planner_rule(name: str) -> Rule:
    """The rule of the planner `name`: a baseline, `RATES`, `SAEZ_MEASURED`, or a law of the user's."""
    return {FIXED: fixed_rates, MEASURED: saez_measured}[name] if name in (FIXED, MEASURED) else BASELINES[name]


def fixed_hours(num_agents: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Hours a week (num_agents,), integers drawn once from 40 to 60: the FIXED workers of the LLM Economist.

    >>> fixed_hours(3, np.random.default_rng(0))
    array([57, 53, 50])
    """
    return rng.integers(*FIXED_HOURS, size=num_agents, endpoint=True)


def start_and_oracle(setting: Setting) -> tuple[TaxSchedule, TaxSchedule, TaxSchedule]:
    """Three benchmark schedules: where a planner with a model starts, the best one on its grid, and ORACLE's.

    The planner share is measured between the first and the last.
    """
    return start(setting), oracle_grid(setting), oracle(setting)


def objective(setting: Setting, schedule: TaxSchedule) -> float:
    """Welfare, in the unit of the setting's objective, if every worker best-responds to `schedule`."""
    best = equilibrium(setting.economy, schedule, setting.wages, windfall=setting.windfall)
    return float(setting.objective(best.utility, best.income, setting.wages))
