"""The solved game: budgets balance, nobody regrets a best reply, and no planner beats the oracle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.economy import equilibrium as game
from pipeline.economy.equilibrium import equilibrium, oracle, planner_share, regret, settle, welfare_of
from pipeline.economy.skills import wages_us_income
from pipeline.economy.tax import BRACKETS, US_FED, FloatArray, tax, uniform
from pipeline.economy.utility import ECONOMIES, best_response_on_grid
from pipeline.economy.welfare import WELFARE
from signatures.types import TaxSchedule

WEEKLY = ECONOMIES["weekly"]


def us_wages(num_agents: int, seed: int = 0) -> FloatArray:
    return wages_us_income(num_agents, np.random.default_rng(seed))


def welfare(law: TaxSchedule, wages: FloatArray, name: str) -> float:
    """Welfare when everybody best-responds, computed from the booked year and not from the oracle's own tables."""
    year = equilibrium(WEEKLY, law, wages)
    return float(WELFARE[name](year.utility, year.income, wages))


def gains(law: TaxSchedule, wages: FloatArray, name: str) -> list[float]:
    """Relative gain in welfare from each change of one rate by ten or twenty points."""
    reached = welfare(law, wages, name)
    changes = np.kron(np.eye(len(law.rates), dtype=int), [[-20], [-10], [10], [20]])
    return [welfare(law.changed(tuple(row.tolist())), wages, name) / reached - 1 for row in changes]


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
    best, missed = regret(WEEKLY, law, wages, year)
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


def test_without_effects_on_equality_no_tax_is_best() -> None:
    assert oracle(WEEKLY, BRACKETS["three"], us_wages(50), WELFARE["utilitarian"]).rates == (0, 0, 0)


def test_for_the_poorest_alone_the_flat_tax_with_the_most_revenue_is_best() -> None:
    # incomes go with (1-tau)**0.4, so revenue peaks at 1/1.4 = 71.4 percent; the poorest earn next to nothing
    wages = np.array([0.01, *np.geomspace(10, 90, 40)])
    assert oracle(WEEKLY, (0,), wages, WELFARE["rawlsian"]).rates == (70,)


@pytest.mark.parametrize("name", WELFARE)
def test_the_oracle_is_the_best_of_all_rates_on_the_grid(name: str) -> None:
    wages, edges = us_wages(7, seed=3), (0.0, 60_000.0)
    grid = [TaxSchedule(thresholds=edges, rates=pair) for pair in itertools.product(range(0, 101, 10), repeat=2)]
    highest = max(welfare(law, wages, name) for law in grid)
    assert welfare(oracle(WEEKLY, edges, wages, WELFARE[name]), wages, name) == pytest.approx(highest)


@pytest.mark.parametrize("name", WELFARE)
@pytest.mark.parametrize(("brackets", "num_agents"), [("three", 5), ("three", 100), ("US_FED", 20)])
def test_no_change_of_one_rate_by_ten_or_twenty_points_improves_the_oracle(
    name: str, brackets: str, num_agents: int
) -> None:
    wages = us_wages(num_agents, seed=1)
    law = oracle(WEEKLY, BRACKETS[brackets], wages, WELFARE[name])
    assert max(gains(law, wages, name)) <= 1e-9


@pytest.mark.parametrize(("name", "seed"), [("rawlsian", 7), ("equality_productivity", 1)])
def test_on_seven_brackets_the_oracle_finds_what_sixty_random_climbs_find(name: str, seed: int) -> None:
    # seeds with many local optima: a climb from 50 percent ends one to three percent below the best
    wages = us_wages(20, seed)

    def height(rates: FloatArray) -> FloatArray:
        return welfare_of(WEEKLY, US_FED.thresholds, rates, wages, WELFARE[name])

    starts = np.random.default_rng(0).integers(0, 11, (60, 7)) * 10.0
    found = height(np.array([game._climb(height, start, reach=2) for start in starts])).max()
    from_half = height(game._climb(height, np.full(7, 50.0), reach=2)[None])[0]
    best = welfare(oracle(WEEKLY, US_FED.thresholds, wages, WELFARE[name]), wages, name)
    assert best >= found * (1 - 1e-9)
    assert best > from_half * 1.005


def test_a_climb_that_moves_two_rates_at_once_follows_a_ridge() -> None:
    def ridge(rates: FloatArray) -> FloatArray:
        return -100 * (rates[:, 0] - rates[:, 1]) ** 2 - (rates.sum(axis=1) - 140) ** 2

    start = np.array([50.0, 50.0])
    assert game._climb(ridge, start, reach=1).tolist() == [50, 50]
    assert game._climb(ridge, start, reach=2).tolist() == [70, 70]


def test_a_candidate_off_the_grid_is_not_lost_and_one_on_other_brackets_not_mistaken() -> None:
    # nobody earns five million: in effect one rate, best at 100/1.4
    wages, edges = np.array([0.01, *np.geomspace(10, 90, 40)]), (0.0, 5e6)
    peak, elsewhere = uniform(edges, 100 / 1.4), uniform((0, 4e6), 100 / 1.4)
    assert oracle(WEEKLY, edges, wages, WELFARE["rawlsian"], [US_FED, peak]).rates[0] == pytest.approx(100 / 1.4)
    assert oracle(WEEKLY, edges, wages, WELFARE["rawlsian"], [US_FED, elsewhere]).rates[0] == 70


@pytest.mark.parametrize("brackets", ["three", "US_FED"])
def test_the_oracle_gives_the_same_answer_twice(brackets: str) -> None:
    wages = us_wages(40)
    first, second = (oracle(WEEKLY, BRACKETS[brackets], wages, WELFARE["atkinson"]) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(("brackets", "scouts"), [("three", "grid"), ("US_FED", "climb")])
def test_a_large_population_is_scouted_by_a_part_and_climbed_by_all(
    brackets: str, scouts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wages = us_wages(300)
    exact = welfare(oracle(WEEKLY, BRACKETS[brackets], wages, WELFARE["rawlsian"]), wages, "rawlsian")
    monkeypatch.setattr(game, "SCOUTS", {scouts: 30})
    law = oracle(WEEKLY, BRACKETS[brackets], wages, WELFARE["rawlsian"])
    assert welfare(law, wages, "rawlsian") == pytest.approx(exact, rel=0.005)
    assert max(gains(law, wages, "rawlsian")) <= 1e-9


def test_planner_share_is_the_part_of_the_way_that_was_gone() -> None:
    assert planner_share(start=10, achieved=10, best=30) == 0
    assert planner_share(start=10, achieved=30, best=30) == 1
    assert planner_share(start=10, achieved=5, best=30) == -0.25
    assert np.isnan(planner_share(start=10, achieved=10, best=10))
