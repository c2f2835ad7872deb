"""The solved game: budgets balance, nobody regrets a best reply, and many schedules are worth what each is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.economy import equilibrium as game
from pipeline.economy.equilibrium import equilibrium, regret, settle, welfare_of
from pipeline.economy.tax import BRACKETS, US_FED, FloatArray, tax, uniform
from pipeline.economy.utility import ECONOMIES, best_response_on_grid, effort_cost, income
from pipeline.economy.wages import wages_us_income
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
def test_regret_is_never_negative_and_its_best_utility_is_attainable(seed: int, rates: list[int]) -> None:
    law = TaxSchedule(thresholds=BRACKETS["three"], rates=tuple(rates))
    wages = us_wages(20, seed)
    year = settle(WEEKLY, law, wages, np.random.default_rng(seed).integers(0, 101, 20))
    best, missed, _ = regret(WEEKLY, law, wages, year)
    assert (missed >= 0).all()
    assert best - missed == pytest.approx(year.utility)
    # the best whole hours with the others' taxes as they are: the rebate moves by a twentieth of one's own tax
    grid = settle(WEEKLY, law, wages, best_response_on_grid(WEEKLY, law, wages, 20, step=1))
    reachable = grid.utility - grid.rebate + year.rebate + (grid.tax - year.tax) / 20
    assert (best >= reachable - 1e-6).all()
    assert (best <= reachable + 52 * wages).all()  # an hour at most away, which earns at most its wage


laws = st.tuples(
    st.sampled_from([(0.0,), (0.0, 30_000.0), BRACKETS["three"]]), st.lists(st.integers(0, 100), min_size=3, max_size=3)
).map(lambda drawn: TaxSchedule(thresholds=drawn[0], rates=tuple(drawn[1][: len(drawn[0])])))
"""Rates that rise and rates that fall."""


@given(st.sampled_from([1, 2, 5, 100]), laws, st.sampled_from(sorted(ECONOMIES)), st.integers(0, 1_000))
@settings(max_examples=60, deadline=None)
def test_regret_is_what_brute_force_over_hours_finds_with_the_rebate_recomputed(
    count: int, law: TaxSchedule, name: str, seed: int
) -> None:
    economy, rng = ECONOMIES[name], np.random.default_rng(seed)
    wages, labor = us_wages(count, seed), rng.uniform(0, 100, count)
    year = settle(economy, law, wages, labor)
    best, missed, best_labor = regret(economy, law, wages, year)
    agent = int(rng.integers(count))
    others = np.delete(np.arange(count), agent)
    taxes_of_others = tax(law, income(wages[others], labor[others])).sum()

    def worth(hours: FloatArray) -> FloatArray:
        earned = income(wages[agent], hours)
        owed = tax(law, earned)
        return np.asarray(earned - owed + (taxes_of_others + owed) / count - effort_cost(economy, hours))

    fine = np.linspace(0, 100, 4_001)
    found = worth(fine).max()
    assert best[agent] >= found - 1e-6
    # at most a fortieth of an hour from the best, where an hour is worth no more than its wage or its effort
    step = 52 * wages[agent] + effort_cost(economy, 100.0) - effort_cost(economy, 99.0)
    assert best[agent] <= found + step / 40
    assert worth(best_labor)[agent] == pytest.approx(best[agent], abs=1e-6)
    assert missed[agent] == pytest.approx(best[agent] - year.utility[agent], abs=1e-6)


def test_a_worker_who_is_alone_gets_every_tax_back_and_works_as_if_there_were_none() -> None:
    wages = np.array([20.0])
    taxed, free = (equilibrium(WEEKLY, uniform((0,), rate), wages) for rate in (90, 0))
    assert taxed.labor == pytest.approx(free.labor)
    assert taxed.utility == pytest.approx(free.utility)


@pytest.mark.parametrize("count", [2, 5, 100])
def test_no_worker_of_an_equilibrium_gains_by_other_hours_than_its_own(count: int) -> None:
    law, wages = TaxSchedule(thresholds=BRACKETS["three"], rates=(70, 20, 60)), us_wages(count, 3)
    year = equilibrium(WEEKLY, law, wages)
    for agent in range(min(count, 10)):
        for hours in np.arange(0, 100.01, 2.5):
            labor = year.labor.copy()
            labor[agent] = hours
            assert settle(WEEKLY, law, wages, labor).utility[agent] <= year.utility[agent] + 1e-6


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
    monkeypatch.setattr(game, "MANY", 7)
    assert welfare_of(WEEKLY, BRACKETS["three"], rates, wages, WELFARE[name]) == pytest.approx(each)
