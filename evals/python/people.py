"""`llm_economist.people`: a population whose exact best responses to any tax law can be looked at, without a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.agents.model_choice import configure
from pipeline.economy.baselines import BASELINES, FORMULAS, Setting
from pipeline.economy.equilibrium import Outcome, equilibrium
from pipeline.economy.tax import FloatArray, marginal_rate
from pipeline.economy.utility import Economy
from pipeline.economy.welfare import gini
from pipeline.errors import UsageError
from pipeline.simulation.world import create, tastes_from_incomes
from programs.calls.model_names import RULES
from signatures.types import TaxSchedule

FULL_TIME = 40
"""Hours a week; a worker who works them without a tax does so at every elasticity."""


@dataclass(frozen=True, eq=False)
class TaxYear:
    """A year in which every worker best-responds to a law: arrays (N,) in the order of the wages.

    `hours` a week; `income`, `tax`, `after_tax` (the rebate included) and `utility` in dollars a year; `marginal_rate`
    in percent. `rebate`: dollars a year for each worker, which is also the revenue a head. `welfare`: each welfare
    function, in dollars per person per year (`paper`: a number).
    """

    schedule: TaxSchedule
    hours: FloatArray
    income: FloatArray
    tax: FloatArray
    after_tax: FloatArray
    utility: FloatArray
    marginal_rate: FloatArray
    rebate: float
    welfare: Mapping[str, float]

    @property
    def gini(self) -> float:
        """Inequality of incomes after tax and rebate: 0 if all are equal, up to 1."""
        return float(gini(self.after_tax))

    @classmethod
    def of(cls, setting: Setting, law: TaxSchedule, outcome: Outcome) -> TaxYear:
        values = {
            name: float(function(outcome.utility, outcome.income, setting.wages))
            for name, function in setting.welfare_functions.items()
        }
        rates = marginal_rate(law, outcome.income)
        money = (outcome.income, outcome.tax, outcome.posttax, outcome.utility)
        return cls(law, outcome.labor, *money, rates, outcome.rebate, values)


@dataclass(frozen=True, eq=False)
class People:
    """Workers, their economy, the brackets of the tax and the planner's objective: what `people` returns."""

    setting: Setting

    @property
    def wages(self) -> FloatArray:
        """(N,) dollars an hour."""
        return self.setting.wages

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The lower edge of each bracket, dollars a year."""
        return self.setting.thresholds

    def under(self, law: TaxSchedule | Sequence[float]) -> TaxYear:
        """The year under `law`, a schedule or one rate in percent for each bracket. UsageError for other rates."""
        if not isinstance(law, TaxSchedule):
            law = schedule_from(law, self.thresholds)
        return TaxYear.of(
            self.setting, law, equilibrium(self.setting.economy, law, self.wages, windfall=self.setting.windfall)
        )

    def law(self, planner: str) -> TaxSchedule:
        """The law of a planner without a model, by its `--planner-type`: `"ORACLE"`, `"SAEZ"`, `"US_FED"` ...

        ORACLE is the law with the highest objective. The first call can take seconds; UsageError for an unknown name.
        """
        if planner not in BASELINES:
            raise UsageError(f"planner {planner!r}: expected one of {', '.join(BASELINES)}")
        if planner in FORMULAS and self.setting.economy.gamma:
            raise UsageError(f"planner {planner!r}: its formula has no income effects (utility='crra'); use 'ORACLE'")
        return BASELINES[planner](self.setting)


def schedule_from(rates: Sequence[float], thresholds: Sequence[float]) -> TaxSchedule:
    """One rate in percent for each bracket. UsageError says what does not fit."""
    edges = ", ".join(f"{edge:,.0f}" for edge in thresholds)
    try:
        given = tuple(float(rate) for rate in rates)
        if len(given) != len(thresholds) or not all(-100 <= rate <= 100 for rate in given):
            raise ValueError
        return TaxSchedule(thresholds=tuple(thresholds), rates=given)
    except (TypeError, ValueError):
        raise UsageError(
            f"rates {rates!r:.80}: expected {len(thresholds)} percentages from -100 to 100, for incomes from {edges}"
        ) from None


def people(
    num_agents: int = 1000,
    *,
    wages: Sequence[float] | FloatArray | None = None,
    labor_elasticity: float | None = None,
    effort: float = 1.0,
    **settings: Any,
) -> People:
    """A population, to look at the best responses to any tax law.

    The workers are those of a run with these `settings` (`agent_mix`, `seed`, `bracket_setting`, `welfare`, ...; see
    `pipeline.config.RunConfig`), or earn `wages` in dollars an hour. `labor_elasticity`: of hours in the net-of-tax
    wage, 0.4 in a run; who works 40 hours without a tax does so at every elasticity, and SAEZ assumes it, too, unless
    `elasticity` is given. `effort` multiplies the cost of working. UsageError for what cannot be used.
    """
    if wages is not None:
        earned = _wages(wages)
        num_agents = len(earned)
    config = configure({**settings, "num_agents": num_agents, "llm": RULES})
    setting = create(config).setting()
    if wages is not None:
        setting = replace(setting, wages=earned)
        if setting.economy.calibrated:
            tastes = tastes_from_incomes(config, earned)
            setting = replace(setting, economy=replace(setting.economy, tastes=tastes))
    if labor_elasticity is not None:
        setting = replace(setting, economy=_economy(setting.economy, _positive("labor_elasticity", labor_elasticity)))
        if "elasticity" not in settings:
            setting = replace(setting, elasticities=(labor_elasticity,))
    harder = replace(setting.economy, c=setting.economy.c * _positive("effort", effort))
    return People(replace(setting, economy=harder))


def _economy(usual: Economy, elasticity: float) -> Economy:
    """The cost of effort with another elasticity: the marginal cost of the 40th hour is that of `usual`."""
    delta = 1 + 1 / elasticity
    at_full_time = usual.c * usual.delta * FULL_TIME ** (usual.delta - 1)
    return replace(usual, c=at_full_time / (delta * FULL_TIME ** (delta - 1)), delta=delta)


def _positive(name: str, value: float) -> float:
    if not (isinstance(value, int | float) and 0.01 <= value <= 100):
        raise UsageError(f"{name}={value!r:.40}: expected a number from 0.01 to 100")
    return value


def _wages(given: Sequence[float] | FloatArray) -> FloatArray:
    try:
        earned = np.array(given, dtype=float)
    except (TypeError, ValueError):
        earned = np.array([math.nan])
    if earned.ndim != 1 or not len(earned) or not (np.isfinite(earned) & (earned > 0)).all():
        raise UsageError(f"wages {given!r:.60}: expected a list of positive dollars an hour")
    return earned
