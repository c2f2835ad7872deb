"""Wages: the sampled GB2 is the GB2 that its density describes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.economy.wages import (
    FULL_TIME_HOURS,
    GB2_MU,
    GB2_NU,
    GB2_SIGMA,
    GB2_TAU,
    MIN_WAGE,
    gb2_incomes,
    wages_uniform,
    wages_us_income,
)

NODES, WEIGHTS = np.polynomial.legendre.leggauss(400)
SAMPLE = 500_000


def beta(a: float, b: float) -> float:
    return math.exp(math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b))


def gb2_cdf(income: float) -> float:
    """The regularised incomplete beta I_z(nu, tau) at z = x / (1 + x), x = (income / mu)^sigma.

    By quadrature: substituting t = s^(1/nu) takes the singularity at 0 out of t^(nu-1) * (1-t)^(tau-1).
    """
    x = (income / GB2_MU) ** GB2_SIGMA
    upper = (x / (1 + x)) ** GB2_NU
    s = upper * (NODES + 1) / 2
    integral = upper / 2 * float(WEIGHTS @ (1 - s ** (1 / GB2_NU)) ** (GB2_TAU - 1))
    return integral / GB2_NU / beta(GB2_NU, GB2_TAU)


def gb2_quantile(share: float) -> float:
    low, high = 0.0, 1e9
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if gb2_cdf(middle) < share else (low, middle)
    return low


def gb2_density(income: np.ndarray) -> np.ndarray:
    """Term by term as gamlss.dist documents dGB2."""
    scale = GB2_MU ** (GB2_SIGMA * GB2_NU) * beta(GB2_NU, GB2_TAU)
    tail = (1 + (income / GB2_MU) ** GB2_SIGMA) ** (GB2_NU + GB2_TAU)
    return GB2_SIGMA * income ** (GB2_SIGMA * GB2_NU - 1) / (scale * tail)


@pytest.fixture(scope="module")
def incomes() -> np.ndarray:
    return gb2_incomes(SAMPLE, np.random.default_rng(20))


def test_the_distribution_function_is_the_integral_of_the_published_density() -> None:
    income = np.linspace(1_000, 200_000, 200_001)
    density = gb2_density(income)
    area = float(np.sum((density[1:] + density[:-1]) / 2)) * (income[1] - income[0])
    assert gb2_cdf(200_000) - gb2_cdf(1_000) == pytest.approx(area, abs=1e-6)
    assert gb2_cdf(1e9) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.99])
def test_sample_quantiles_match_the_closed_form(incomes: np.ndarray, share: float) -> None:
    assert np.quantile(incomes, share) == pytest.approx(gb2_quantile(share), rel=0.02)


def test_the_sample_passes_kolmogorov_smirnov(incomes: np.ndarray) -> None:
    ordered = np.sort(incomes)[:: SAMPLE // 500]
    theory = np.array([gb2_cdf(income) for income in ordered])
    sample = np.arange(0, SAMPLE, SAMPLE // 500) / SAMPLE
    assert np.abs(theory - sample).max() < 1.95 / math.sqrt(SAMPLE)  # exceeded by chance once in a thousand


def test_mean_income_matches_the_closed_form(incomes: np.ndarray) -> None:
    mean = GB2_MU * beta(GB2_NU + 1 / GB2_SIGMA, GB2_TAU - 1 / GB2_SIGMA) / beta(GB2_NU, GB2_TAU)
    assert incomes.mean() == pytest.approx(mean, rel=0.01)


def test_wages_are_hourly_so_the_median_worker_earns_about_18_dollars() -> None:
    wages = wages_us_income(SAMPLE, np.random.default_rng(21))
    assert np.median(wages) == pytest.approx(gb2_quantile(0.5) / 2080, rel=0.01)
    assert 17.5 < np.median(wages) < 19.5


def test_the_floor_moves_only_what_lies_below_a_cent() -> None:
    incomes = gb2_incomes(SAMPLE, np.random.default_rng(22))
    wages = wages_us_income(SAMPLE, np.random.default_rng(22))
    moved = wages != incomes / FULL_TIME_HOURS
    assert wages.min() == MIN_WAGE
    share = gb2_cdf(MIN_WAGE * FULL_TIME_HOURS)
    assert share == pytest.approx(3e-4, rel=0.05)
    assert moved.mean() == pytest.approx(share, abs=4.5 * math.sqrt(share / SAMPLE))
    assert np.all(wages[moved] == MIN_WAGE)
    assert np.all(incomes[moved] < MIN_WAGE * FULL_TIME_HOURS)


def test_a_fifth_of_all_earners_are_below_the_minimum_wage_by_the_hours_of_a_full_year() -> None:
    """The figures of README and docs/population.md, from the density and from a sample."""
    wages = wages_us_income(SAMPLE, np.random.default_rng(24))
    for dollars, share in ((7.25, 0.218), (2.0, 0.061)):
        assert gb2_cdf(dollars * FULL_TIME_HOURS) == pytest.approx(share, abs=0.0005)
        assert (wages < dollars).mean() == pytest.approx(share, abs=0.0005 + 4.5 * math.sqrt(share / SAMPLE))


def test_uniform_wages_fill_their_bounds_evenly() -> None:
    wages = wages_uniform(100_000, np.random.default_rng(23))
    assert wages.min() == pytest.approx(1.24, abs=0.02)
    assert wages.max() == pytest.approx(159.1, abs=0.02)
    assert np.all((wages >= 1.24) & (wages <= 159.1))
    counts, _ = np.histogram(wages, bins=10, range=(1.24, 159.1))
    assert counts == pytest.approx(10_000, rel=0.05)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32), num_agents=st.integers(1, 500))
def test_wages_of_any_seed_are_finite_and_worth_paying(seed: int, num_agents: int) -> None:
    for draw in (wages_us_income, wages_uniform):
        wages = draw(num_agents, np.random.default_rng(seed))
        assert wages.shape == (num_agents,)
        assert wages.dtype == np.float64
        assert np.all(np.isfinite(wages) & (wages >= MIN_WAGE))
        assert np.array_equal(wages, draw(num_agents, np.random.default_rng(seed)))
