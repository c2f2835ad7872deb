"""Tax laws: the published amounts, and what every piecewise-linear tax must satisfy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.economy.tax import BRACKETS, US_FED, marginal_rate, rebate, tax, uniform
from signatures.types import TaxSchedule

incomes = st.floats(0, 5e6)


@st.composite
def schedules(draw: st.DrawFn) -> TaxSchedule:
    edges = draw(st.lists(st.integers(1, 1_000_000), max_size=6, unique=True))
    rates = draw(st.lists(st.floats(0, 100), min_size=len(edges) + 1, max_size=len(edges) + 1))
    return TaxSchedule(thresholds=(0, *sorted(edges)), rates=tuple(rates))


@pytest.mark.parametrize(
    ("income", "owed"),
    [
        (0, 0),
        (11_600, 1_160),
        (47_150, 5_426),
        (100_000, 17_053),
        (100_525, 17_168.50),
        (191_950, 39_110.50),
        (200_000, 41_686.50),
        (243_725, 55_678.50),
        (609_350, 183_647.25),
    ],
)
def test_federal_tax_is_what_the_2024_rate_table_says(income: float, owed: float) -> None:
    assert float(tax(US_FED, income)) == pytest.approx(owed, abs=0.005)


def test_the_last_rate_applies_without_end() -> None:
    assert float(tax(US_FED, 20e6) - tax(US_FED, 12e6)) == pytest.approx(0.37 * 8e6)


def test_half_a_percent_is_a_rate_like_any_other() -> None:
    assert float(tax(uniform((0,), 0.5), 100_000)) == pytest.approx(500)


def test_bracket_settings_start_at_zero_and_have_the_published_edges() -> None:
    assert BRACKETS["flat"] == (0,)
    assert BRACKETS["three"] == (0, 90_000, 159_100)
    assert BRACKETS["US_FED"] == (0, 11_600, 47_150, 100_525, 191_950, 243_725, 609_350)


@given(schedules(), incomes, incomes)
def test_more_income_owes_more_tax_but_never_more_than_the_difference(
    law: TaxSchedule, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    # between 0 and 1 dollar a dollar: monotone, and continuous at every edge
    assert -1e-6 <= float(tax(law, high) - tax(law, low)) <= high - low + 1e-6


@given(schedules(), st.integers(0, 6), st.floats(0, 1), st.floats(0, 1))
def test_tax_is_linear_within_a_bracket(law: TaxSchedule, bracket: int, a: float, b: float) -> None:
    edges = (*law.thresholds, law.thresholds[-1] + 1e6)
    j = bracket % len(law.thresholds)
    ends = edges[j] + np.array([a, b]) * (edges[j + 1] - edges[j])
    assert float(tax(law, ends.mean())) == pytest.approx(float(tax(law, ends).mean()), abs=1e-6)


@given(schedules(), incomes)
def test_the_marginal_rates_add_up_to_the_tax(law: TaxSchedule, income: float) -> None:
    cuts = np.unique([0.0, income, *(edge for edge in law.thresholds if edge < income)])
    pieces = marginal_rate(law, (cuts[1:] + cuts[:-1]) / 2) / 100 * np.diff(cuts)
    assert float(tax(law, income)) == pytest.approx(float(pieces.sum()), abs=1e-6)


def test_on_an_edge_the_next_dollar_pays_the_upper_rate() -> None:
    assert marginal_rate(US_FED, [0, 47_149.99, 47_150, 609_350]).tolist() == [10, 12, 22, 37]


def test_incomes_keep_their_shape() -> None:
    assert tax(US_FED, np.ones((2, 3))).shape == marginal_rate(US_FED, np.ones((2, 3))).shape == (2, 3)


@given(schedules(), st.lists(incomes, min_size=1, max_size=200))
def test_rebates_sum_to_revenue_to_the_cent(law: TaxSchedule, earned: list[float]) -> None:
    taxes = tax(law, earned)
    assert rebate(taxes) * len(earned) == pytest.approx(float(taxes.sum()), abs=0.01)


def test_uniform_puts_one_rate_on_every_dollar() -> None:
    law = uniform(BRACKETS["US_FED"], 30)
    assert tax(law, [1_000, 100_000, 1e6]) == pytest.approx([300, 30_000, 300_000])
