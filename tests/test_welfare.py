"""Welfare functions and inequality against values worked out by hand or in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.economy.welfare import WELFARE, gini, idle_share

U = np.array([10_400.0, 41_600.0, 20_800.0])
Z = np.array([20_800.0, 0.0, 41_600.0])
W = np.array([10.0, 20.0, 5.0])
MIDPOINTS = (np.arange(200_000) + 0.5) / 200_000

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # weights 2, 1 and 4, for incomes at 40 hours are 20,800, 41,600 and 10,400
        ("inverse_income", (2 * 10_400 + 41_600 + 4 * 20_800) / 7),
        ("paper", 0.5 + 41_600 + 0.5),
        ("utilitarian", 72_800 / 3),
        ("rawlsian", 10_400),
        # 10,400 * (1 * 4 * 2)^(1/3)
        ("atkinson", 20_800),
        # gini of 1, 2, 4 is (4-2 + 4-1 + 2-1) / (3 * 7) = 2/7; mean income 20,800
        ("equality_productivity", 5 / 7 * 20_800),
    ],
)
def test_welfare_is_what_one_gets_by_hand(name: str, value: float) -> None:
    measured = WELFARE[name](U, Z, W)
    assert type(measured) is float
    assert measured == pytest.approx(value)


@pytest.mark.parametrize("name", WELFARE)
def test_a_batch_gets_the_values_that_each_gets_alone(name: str) -> None:
    rng = np.random.default_rng(0)
    u, z = rng.uniform(-1e4, 1e5, (5, 30)), rng.uniform(0, 1e5, (5, 30))
    w = rng.uniform(1, 50, 30)
    alone = [WELFARE[name](u[row], z[row], w) for row in range(5)]
    assert WELFARE[name](u, z, w).tolist() == pytest.approx(alone)


@pytest.mark.parametrize("name", WELFARE)
def test_every_welfare_function_likes_everybody_to_be_better_off(name: str) -> None:
    assert WELFARE[name](U + 1_000, Z, W) > WELFARE[name](U, Z, W)


def test_one_idle_worker_blows_up_the_paper_sum_and_no_other() -> None:
    u, wages, busy = np.full(5, 16_000.0), np.full(5, 20.0), np.full(5, 41_600.0)
    one_idle = np.array([0.0, 41_600.0, 41_600.0, 41_600.0, 41_600.0])
    growth = {name: welfare(u, one_idle, wages) / welfare(u, busy, wages) for name, welfare in WELFARE.items()}
    assert growth.pop("paper") > 1_000
    assert max(growth.values()) <= 1


def test_atkinson_counts_utility_below_a_dollar_as_a_dollar() -> None:
    assert WELFARE["atkinson"](np.array([-5_000.0, 10_000.0]), Z[:2], W[:2]) == pytest.approx(100)


@given(numbers)
def test_atkinson_lies_between_the_worst_off_and_the_mean(values: list[float]) -> None:
    u = np.maximum(np.array(values), 1.0)
    equal = WELFARE["atkinson"](u, u, np.ones_like(u))
    assert u.min() * (1 - 1e-9) <= equal <= u.mean() * (1 + 1e-9)


@pytest.mark.parametrize("a", [2.0, 3.0, 5.0])
def test_gini_of_a_pareto_distribution_is_one_over_twice_a_minus_one(a: float) -> None:
    assert gini((1 - MIDPOINTS) ** (-1 / a)) == pytest.approx(1 / (2 * a - 1), abs=2e-3)


def test_gini_of_the_uniform_is_a_third_and_of_the_exponential_a_half() -> None:
    assert gini(MIDPOINTS) == pytest.approx(1 / 3, abs=1e-4)
    assert gini(-np.log(1 - MIDPOINTS)) == pytest.approx(1 / 2, abs=1e-4)


@given(numbers)
def test_gini_is_half_the_relative_mean_difference_of_what_is_not_negative(values: list[float]) -> None:
    x = np.maximum(np.array(values), 0.0)
    total = x.sum()
    differences = np.abs(x[:, None] - x[None, :]).sum()
    expected = differences / (2 * len(x) * total) if total > 0 else 0.0
    assert gini(values) == pytest.approx(expected, abs=1e-9)


def test_idle_share_is_what_the_workers_without_income_carry() -> None:
    assert idle_share([300, 900], [100, 0]) == pytest.approx(900 / 903)
    assert idle_share([300, -900], [100, 0]) == pytest.approx(900 / 903)
    assert idle_share([300, 900], [100, 100]) == 0
    assert idle_share([0, 0], [0, 0]) == 0
