"""Welfare functions and inequality against values worked out by hand or in closed form."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.economy.equilibrium import welfare_of
from pipeline.economy.utility import ECONOMIES
from pipeline.economy.wages import wages_us_income
from pipeline.economy.welfare import WELFARE, gini, idle_share, welfare_functions

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


# In dollars per person

IN_DOLLARS = [name for name in WELFARE if name != "paper"]


@pytest.mark.first_cases(4)
@pytest.mark.parametrize("aversion", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("name", IN_DOLLARS)
@given(st.floats(10, 1e6), st.integers(1, 40))
def test_a_utility_that_everyone_has_is_its_own_equivalent(
    name: str, aversion: float, x: float, num_agents: int
) -> None:
    alike, wages = np.full(num_agents, x), np.linspace(5, 90, num_agents)
    assert welfare_functions(aversion)[name](alike, alike, wages) == pytest.approx(x)


societies = st.lists(
    st.tuples(st.floats(100, 1e6), st.floats(100, 1e6), st.floats(1, 200)), min_size=1, max_size=20
).map(lambda rows: tuple(np.array(column) for column in zip(*rows, strict=True)))
"""Utility, income and wage of each."""


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("aversion", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("name", IN_DOLLARS)
@given(societies, st.floats(0.1, 10))
def test_twice_the_dollars_are_worth_twice_as_much(
    name: str, aversion: float, society: tuple[np.ndarray, ...], factor: float
) -> None:
    u, z, w = society
    welfare = welfare_functions(aversion)[name]
    assert welfare(factor * u, factor * z, w) == pytest.approx(factor * welfare(u, z, w))
    assert welfare(factor * u, factor * z, factor * w) == pytest.approx(factor * welfare(u, z, w))


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("aversion", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("name", IN_DOLLARS)
@given(societies, st.integers(2, 5))
def test_a_society_twice_over_is_worth_as_much_a_head(
    name: str, aversion: float, society: tuple[np.ndarray, ...], times: int
) -> None:
    welfare = welfare_functions(aversion)[name]
    assert welfare(*(np.tile(column, times) for column in society)) == pytest.approx(welfare(*society))


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("aversion", [0.0, 0.5, 1.0, 2.0, 5.0])
@given(societies)
def test_atkinson_is_the_utility_whose_crra_worth_is_the_mean_one(
    aversion: float, society: tuple[np.ndarray, ...]
) -> None:
    u, z, w = society

    def crra(x: np.ndarray | float) -> np.ndarray:
        return np.asarray(np.log(x) if aversion == 1 else np.asarray(x) ** (1 - aversion) / (1 - aversion))

    found = welfare_functions(aversion)["atkinson"](u, z, w)
    assert float(crra(found)) == pytest.approx(float(np.mean(crra(u))), rel=1e-9)


def test_atkinson_by_hand() -> None:
    u = np.array([1_000.0, 4_000.0])
    by_hand = {
        0.0: 2_500,
        0.5: ((1_000**0.5 + 4_000**0.5) / 2) ** 2,
        1.0: 2_000,
        2.0: 2 / (1 / 1_000 + 1 / 4_000),
        5.0: ((1_000**-4 + 4_000**-4) / 2) ** (-1 / 4),
    }
    for aversion, value in by_hand.items():
        assert welfare_functions(aversion)["atkinson"](u, u, u) == pytest.approx(value)


def test_no_aversion_however_strong_leaves_the_range_of_numbers() -> None:
    u = np.array([1e-3, 20_000.0, 9e8])
    for aversion in (0.0, 0.999999, 1.000001, 50.0, 100.0):
        assert 1 <= welfare_functions(aversion)["atkinson"](u, u, u) <= np.maximum(u, 1).mean() * (1 + 1e-12)


@pytest.mark.parametrize("name", ["inverse_income", "atkinson"])
@pytest.mark.parametrize("seed", range(3))
def test_in_dollars_the_best_schedule_is_the_one_of_the_older_scale(name: str, seed: int) -> None:
    """A sum over income at 40 hours, and a mean of logarithms, rank schedules as their dollars per person do."""
    wages = wages_us_income(25, np.random.default_rng(seed))
    rates = np.array(list(itertools.product(range(0, 101, 10), repeat=2)), dtype=float)
    older = {
        "inverse_income": lambda u, z, w: np.sum(u / (w * 2_080), axis=-1),
        "atkinson": lambda u, z, w: np.mean(np.log(np.maximum(u, 1)), axis=-1),
    }
    now, then = (
        welfare_of(ECONOMIES["weekly"], (0.0, 60_000.0), rates, wages, function)
        for function in (WELFARE[name], older[name])
    )
    assert np.argmax(now) == np.argmax(then)
    assert (np.argsort(now, kind="stable") == np.argsort(then, kind="stable")).mean() > 0.95
