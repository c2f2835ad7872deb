"""The solved game: budgets balance, nobody regrets a best reply, and many schedules are worth what each is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.economy import equilibrium as game
from pipeline.economy.equilibrium import equilibrium, planner_share, regret, settle, welfare_of
from pipeline.economy.skills import wages_us_income
from pipeline.economy.tax import BRACKETS, US_FED, FloatArray, tax, uniform
from pipeline.economy.utility import ECONOMIES, best_response_on_grid
from pipeline.economy.welfare import WELFARE
from signatures.types import TaxSchedule

WEEKLY = ECONOMIES["weekly"]


def us_wages(num_agents: int, seed: int = 0) -> FloatArray:
    return wages_us_income(num_agents, np.random.default_rng(seed))


def welfare(law: TaxSchedule, wages: FloatArray, name: str) -> float:
    """Welfare when everybody best-responds, computed from the booked year and not from tables of schedules."""
    year = equilibrium(WEEKLY, law, wages)
    return float(WELFARE[name](year.utility, year.income, wages))


@given(st.integers(0, 1_000), st.integers(1, 60))
@settings(max_examples=50, deadline=None)
def test_a_settled_year_balances_its_budget(seed: int, num_agents: int) -> None:
    rng = np.random.default_rng(seed)
    wages = us_wages(num_agents, seed)
    year = settle(WEEKLY, US_FED, wages, rng.integers(0, 101, num_agents))
    assert year.rebate * num_agents == pytest.approx(year.revenue, abs=0.01)
    assert year.posttax.sum() == pytest.approx(year.income.sum(), abs=0.01)
    assert year.tax == pytest.approx(tax(US_FED, 52 * wages * year.labor))
    assert year.utility == pytest.approx(year.posttax - 52 * 0.0005 * year.labor**3.5)


@given(st.integers(0, 1_000), st.lists(st.integers(0, 100), min_size=3, max_size=3))
@settings(max_examples=50, deadline=None)
def test_regret_is_never_negative_and_names_a_utility_that_can_be_had(seed: int, rates: list[int]) -> None:
    law = TaxSchedule(thresholds=BRACKETS["three"], rates=tuple(rates))
    wages = us_wages(20, seed)
    year = settle(WEEKLY, law, wages, np.random.default_rng(seed).integers(0, 101, 20))
    best, missed, _ = regret(WEEKLY, law, wages, year)
    assert (missed >= 0).all()
    assert best - missed == pytest.approx(year.utility)
    # the same hours on the side of a million others: the rebate stays what it was
    grid = settle(WEEKLY, law, wages, best_response_on_grid(WEEKLY, law, wages, 1))
    reachable = grid.utility - grid.rebate + year.rebate
    assert (best >= reachable - 1e-6).all()
    assert (best <= reachable + 52 * wages).all()  # an hour at most away, which earns at most its wage


@pytest.mark.parametrize("law", [US_FED, uniform((0,), 100), TaxSchedule(thresholds=(0, 5e4), rates=(80, 10))])
def test_best_replies_are_not_regretted(law: TaxSchedule) -> None:
    wages = us_wages(200)
    year = equilibrium(WEEKLY, law, wages)
    # the last bit of the hours may gain what rounding gives, but that is no regret below zero
    for hours in (year.labor, np.nextafter(year.labor, 0), np.nextafter(year.labor, 100)):
        missed = regret(WEEKLY, law, wages, settle(WEEKLY, law, wages, hours)).regret
        assert missed == pytest.approx(np.zeros(200), abs=1e-6)
        assert (missed >= 0).all()


@pytest.mark.parametrize("name", WELFARE)
def test_welfare_of_many_schedules_is_that_of_each_however_they_are_cut(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = np.random.default_rng(0).integers(0, 101, (25, 3)).astype(float)
    wages = us_wages(30)
    each = [welfare(TaxSchedule(thresholds=BRACKETS["three"], rates=tuple(row)), wages, name) for row in rates]
    for chunk in (1, 100, 10_000):
        monkeypatch.setattr(game, "CHUNK", chunk)
        assert welfare_of(WEEKLY, BRACKETS["three"], rates, wages, WELFARE[name]) == pytest.approx(each)


def test_planner_share_is_the_part_of_the_way_that_was_gone() -> None:
    assert planner_share(start=10, achieved=10, best=30) == 0
    assert planner_share(start=10, achieved=30, best=30) == 1
    assert planner_share(start=10, achieved=5, best=30) == -0.25
    assert np.isnan(planner_share(start=10, achieved=10, best=10))
