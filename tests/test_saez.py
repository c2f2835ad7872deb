"""The Saez formula: its closed forms, its fixed point, and the thin tails it must not be fooled by."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.economy import saez as saez_module
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.saez import saez, saez_rates
from pipeline.economy.skills import wages_us_income
from pipeline.economy.tax import BRACKETS, FloatArray
from pipeline.economy.utility import ECONOMIES

WEEKLY = ECONOMIES["weekly"]
MIDPOINTS = (np.arange(20_000) + 0.5) / 20_000


def us_wages(num_agents: int, seed: int = 0) -> FloatArray:
    return np.sort(wages_us_income(num_agents, np.random.default_rng(seed)))


@pytest.mark.parametrize("e", [0.1, 0.4, 1.0])
def test_one_bracket_is_the_optimal_linear_tax(e: float) -> None:
    wages = np.geomspace(8, 100, 50)  # all below 100 hours, so incomes go with w**1.4 at any flat tax
    weights = 1 / wages / np.mean(1 / wages)
    mean_weight_of_a_dollar = np.average(weights, weights=wages**1.4)
    gain = 1 - mean_weight_of_a_dollar
    assert saez(WEEKLY, (0,), wages, [e]).rates[0] == pytest.approx(100 * gain / (gain + e), abs=0.02)


@pytest.mark.parametrize(("a", "e"), [(2.0, 0.4), (3.0, 0.4), (2.0, 0.2)])
def test_the_top_rate_on_pareto_incomes_nobody_cares_for_is_one_over_one_plus_a_e(a: float, e: float) -> None:
    incomes = 30_000 * (1 - MIDPOINTS) ** (-1 / a)
    only_the_poorest = np.where(MIDPOINTS < 0.01, 1.0, 0.0)
    rates = saez_rates((0, 50_000, 70_000, 80_000), incomes, only_the_poorest, np.full(4, e))
    # a narrow bracket in the tail sees the same local parameter as the open one at the top
    assert rates[2] == pytest.approx(100 / (1 + a * e), abs=3)
    assert rates[3] == pytest.approx(100 / (1 + a * e), abs=1)


def test_rates_fall_with_the_elasticity_from_a_hundred_percent_at_none() -> None:
    rates = [saez(WEEKLY, BRACKETS["three"], us_wages(200), [e]).rates for e in (0.0, 0.1, 0.4, 1.0, 3.0)]
    assert rates[0] == (100, 100, 100)
    assert (np.diff(np.array(rates), axis=0) < 0).all()


def test_a_bracket_has_its_own_elasticity() -> None:
    same = saez(WEEKLY, BRACKETS["three"], us_wages(200), [0.4, 0.4, 0.4]).rates
    top = saez(WEEKLY, BRACKETS["three"], us_wages(200), [0.4, 0.4, 2.0]).rates
    assert same == saez(WEEKLY, BRACKETS["three"], us_wages(200), [0.4]).rates
    assert top[2] < same[2] - 20


@pytest.mark.parametrize("brackets", ["three", "US_FED"])
@pytest.mark.parametrize("economy", ["weekly", "v1"])
def test_the_rates_are_those_of_the_incomes_that_they_induce(brackets: str, economy: str) -> None:
    wages = us_wages(1_000)
    law = saez(ECONOMIES[economy], BRACKETS[brackets], wages, [0.4])
    incomes = equilibrium(ECONOMIES[economy], law, wages).income
    again = saez_rates(law.thresholds, incomes, 1 / wages, np.full(len(law.rates), 0.4))
    assert again == pytest.approx(law.rates, abs=0.5)


@pytest.mark.parametrize("num_agents", [20, 100, 1_000])
@pytest.mark.parametrize("brackets", ["three", "US_FED"])
def test_no_top_rate_collapses_because_few_or_none_earn_that_much(brackets: str, num_agents: int) -> None:
    for seed in range(5):
        rates = saez(WEEKLY, BRACKETS[brackets], us_wages(num_agents, seed), [0.4]).rates
        assert min(rates) > 30
        assert max(rates) <= 100


def test_brackets_that_nobody_reaches_take_the_rate_of_the_last_one_that_somebody_does() -> None:
    incomes, weights = np.linspace(10_000, 80_000, 50), np.linspace(2, 0, 50)
    reached = saez_rates((0, 40_000), incomes, weights, [0.4, 0.4])
    rates = saez_rates((0, 40_000, 90_000, 200_000), incomes, weights, [0.4] * 4)
    assert rates == pytest.approx([*reached, reached[1], reached[1]])


def test_a_bracket_between_where_no_income_lies_is_not_taxed_away() -> None:
    # nobody responds there, so a Pareto parameter of its own would be 0 and the rate 100
    incomes = np.repeat([20_000.0, 5e6], 50) * np.tile(np.linspace(0.99, 1.01, 50), 2)
    weights = np.repeat([2.0, 0.0], 50)
    rates = saez_rates((0, 300_000, 310_000, 320_000), incomes, weights, [0.4] * 4)
    assert (rates < 99).all()


def test_equal_workers_are_not_taxed() -> None:
    assert saez(WEEKLY, BRACKETS["three"], np.full(10, 50.0), [0.4]).rates == (0, 0, 0)


def test_incomes_of_those_who_count_most_are_not_subsidised() -> None:
    assert saez_rates((0,), [20_000.0, 60_000.0], [0.5, 1.5], [0.4]).tolist() == [0]


def test_who_is_listed_first_does_not_matter() -> None:
    wages = us_wages(300)
    shuffled = np.random.default_rng(1).permutation(wages)
    assert saez(WEEKLY, BRACKETS["US_FED"], shuffled, [0.4]) == saez(WEEKLY, BRACKETS["US_FED"], wages, [0.4])


def test_a_large_population_summed_up_in_groups_has_nearly_the_same_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = saez(WEEKLY, BRACKETS["US_FED"], us_wages(4_000), [0.4]).rates
    monkeypatch.setattr(saez_module, "MOST_CELLS", 1_000)
    shuffled = np.random.default_rng(1).permutation(us_wages(4_000))
    assert saez(WEEKLY, BRACKETS["US_FED"], shuffled, [0.4]).rates == pytest.approx(exact, abs=2)


@pytest.mark.parametrize(
    ("elasticities", "message"),
    [
        ([0.4, 0.4], "3 brackets need 1 elasticity or 3, not 2"),
        ([], "3 brackets need 1 elasticity or 3, not 0"),
        ([0.4, -1.0, 0.4], "an elasticity is 0 or more, not -1"),
    ],
)
def test_elasticities_that_do_not_fit_are_refused_in_one_line(elasticities: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        saez(WEEKLY, BRACKETS["three"], us_wages(10), elasticities)


def test_rates_without_incomes_are_refused() -> None:
    with pytest.raises(ValueError, match="nobody earns anything"):
        saez_rates((0,), [0.0, 0.0], [1.0, 1.0], [0.4])
