"""Planners and workers without a language model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.economy.baselines import BASELINES, Setting, fixed_hours
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.saez import saez
from pipeline.economy.tax import BRACKETS, US_FED, tax
from pipeline.economy.utility import ECONOMIES
from pipeline.economy.wages import wages_us_income
from pipeline.economy.welfare import WELFARE
from signatures.types import TaxSchedule


def setting(brackets: str = "three", num_agents: int = 20, seed: int = 0, **fields: object) -> Setting:
    wages = wages_us_income(num_agents, np.random.default_rng(seed))
    economy = ECONOMIES[str(fields.pop("economy", "weekly"))]
    return Setting(economy, BRACKETS[brackets], wages, **fields)  # type: ignore[arg-type]


def welfare(where: Setting, law: TaxSchedule) -> float:
    year = equilibrium(where.economy, law, where.wages)
    return float(WELFARE[where.welfare](year.utility, year.income, where.wages))


@pytest.mark.parametrize("brackets", BRACKETS)
@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_sets_a_law_on_every_bracket_setting(name: str, brackets: str) -> None:
    own = {"US_FED": "US_FED", "SAEZ_THREE": "three"}.get(name, brackets)
    assert BASELINES[name](setting(brackets)).thresholds == BRACKETS[own]


@pytest.mark.parametrize("brackets", BRACKETS)
def test_the_federal_tax_on_100000_is_17053_whatever_the_brackets(brackets: str) -> None:
    assert float(tax(BASELINES["US_FED"](setting(brackets)), 100_000)) == pytest.approx(17_053)
    assert BASELINES["US_FED"](setting(brackets)) == US_FED


def test_uniform_is_fifty_unless_told_and_the_free_market_takes_nothing() -> None:
    assert BASELINES["UNIFORM"](setting()).rates == (50, 50, 50)
    assert BASELINES["UNIFORM"](setting("US_FED", uniform_rate=30.0)).rates == (30,) * 7
    assert BASELINES["FREE_MARKET"](setting(uniform_rate=30.0)).rates == (0, 0, 0)


def test_saez_takes_the_elasticities_of_the_setting() -> None:
    where = setting(elasticities=(0.1, 0.4, 2.0))
    assert BASELINES["SAEZ"](where) == saez(where.economy, where.thresholds, where.wages, (0.1, 0.4, 2.0))
    with pytest.raises(ValueError, match="7 brackets need 1 elasticity or 7, not 3"):
        BASELINES["SAEZ"](setting("US_FED", elasticities=(0.1, 0.4, 2.0)))


def test_saez_flat_and_saez_three_have_their_own_elasticities() -> None:
    where = setting("US_FED", elasticities=(9.0,))
    flat = saez(where.economy, (0,), where.wages, (0.4,)).rates[0]
    assert BASELINES["SAEZ_FLAT"](where).rates == (flat,) * 7
    three = saez(where.economy, BRACKETS["three"], where.wages, (0.18, 0.11, 0.57))
    assert BASELINES["SAEZ_THREE"](where) == three


@pytest.mark.slow
@pytest.mark.parametrize(
    ("brackets", "num_agents", "economy", "seeds"),
    [
        ("flat", 3, "weekly", 4),
        ("three", 5, "weekly", 4),
        ("three", 100, "weekly", 2),
        ("three", 20, "v1", 2),
        ("US_FED", 5, "weekly", 1),
        ("US_FED", 20, "weekly", 1),
    ],
)
def test_the_oracle_is_not_below_any_baseline_on_its_brackets(
    brackets: str, num_agents: int, economy: str, seeds: int
) -> None:
    for seed in range(seeds):
        anywhere = setting(brackets, num_agents, seed, economy=economy)
        laws = [rule(anywhere) for name, rule in BASELINES.items() if name != "ORACLE"]
        for objective in WELFARE:
            where = replace(anywhere, welfare=objective)
            best = welfare(where, BASELINES["ORACLE"](where))
            assert best >= max(welfare(where, law) for law in laws if law.thresholds == where.thresholds) * (1 - 1e-9)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("brackets", ["three", "US_FED"])
def test_saez_rates_come_close_to_the_oracle_in_the_welfare_that_they_are_for(brackets: str) -> None:
    where = setting(brackets, num_agents=100)
    start, best = (welfare(where, BASELINES[name](where)) for name in ("FREE_MARKET", "ORACLE"))
    assert start < 0.5 * best
    assert welfare(where, BASELINES["SAEZ"](where)) > 0.95 * best


def test_an_unknown_welfare_function_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="unknown welfare function 'happiness'; expected one of inverse_income, "):
        setting(welfare="happiness")


def test_fixed_hours_are_whole_from_forty_to_sixty_and_follow_the_generator() -> None:
    hours = fixed_hours(5_000, np.random.default_rng(3))
    assert set(hours.tolist()) == set(range(40, 61))
    assert hours.tolist() == fixed_hours(5_000, np.random.default_rng(3)).tolist()
    assert hours.tolist() != fixed_hours(5_000, np.random.default_rng(4)).tolist()
