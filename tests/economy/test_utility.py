"""Workers' choices: closed forms where they exist, brute force where they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.economy.tax import BRACKETS, US_FED, tax, uniform
from pipeline.economy.utility import (
    CONTINUUM,
    ECONOMIES,
    Economy,
    adjusted_utility,
    best_response,
    best_response_on_grid,
    effective_share,
    effort_cost,
    income,
    respond,
    utility,
)
from pipeline.economy.wages import FULL_TIME_HOURS, GB2_MU, GB2_NU, GB2_SIGMA, GB2_TAU
from signatures.types import TaxSchedule

WEEKLY = ECONOMIES["weekly"]
WAGES = np.geomspace(0.5, 800, 60)
QUADRATIC = Economy(c=0.5, delta=2)
"""Best hours at wage w and tax rate t are (1-t)*w: ties can be written down."""


@st.composite
def schedules(draw: st.DrawFn) -> TaxSchedule:
    """Any rates, rising or falling."""
    edges = draw(st.lists(st.integers(1_000, 700_000), max_size=6, unique=True))
    rates = draw(st.lists(st.integers(0, 100), min_size=len(edges) + 1, max_size=len(edges) + 1))
    return TaxSchedule(thresholds=(0, *sorted(edges)), rates=tuple(rates))


def own(economy: Economy, law: TaxSchedule, wage: np.ndarray, labor: np.ndarray, taxpayers: float) -> np.ndarray:
    """Utility but for what others' taxes bring, by definition: one Nth of the worker's own tax is in its rebate."""
    earned = income(wage, labor)
    owed = tax(law, earned)
    return utility(economy, earned - owed + owed / taxpayers, labor)


def gb2_median() -> float:
    """Median of mu * (x/(1-x))**(1/sigma), x ~ Beta(nu, tau): bisection on the incomplete beta integral."""

    def cdf(x: float) -> float:
        # t = s**nu takes away the pole at 0
        t = (np.arange(20_000) + 0.5) / 20_000 * x**GB2_NU
        area = float(np.mean((1 - t ** (1 / GB2_NU)) ** (GB2_TAU - 1))) * x**GB2_NU / GB2_NU
        return area * math.gamma(GB2_NU + GB2_TAU) / (math.gamma(GB2_NU) * math.gamma(GB2_TAU))

    low, high = 0.0, 0.999
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if cdf(middle) < 0.5 else (low, middle)
    return float(GB2_MU * (low / (1 - low)) ** (1 / GB2_SIGMA))


def test_the_median_worker_chooses_forty_hours_when_there_is_no_tax() -> None:
    median = gb2_median()
    assert median == pytest.approx(38_100, rel=0.002)
    hours = best_response(WEEKLY, uniform((0,), 0), median / FULL_TIME_HOURS, CONTINUUM)
    assert float(hours) == pytest.approx(40, abs=1)


def test_in_v1_the_median_worker_works_a_hundred_hours_at_a_half_tax() -> None:
    wage = gb2_median() / FULL_TIME_HOURS
    half = uniform((0,), 50)
    assert float(best_response(ECONOMIES["v1"], half, wage, CONTINUUM)) == 100
    assert 25 < float(best_response(WEEKLY, half, wage, CONTINUUM)) < 40


@pytest.mark.parametrize("rate", [0, 20, 50, 80])
def test_hours_of_interior_workers_have_elasticity_two_fifths(rate: float) -> None:
    wages = np.array([5.0, 20.0, 80.0])
    hours = best_response(WEEKLY, uniform((0,), rate), wages, CONTINUUM)
    closer = best_response(WEEKLY, uniform((0,), rate + 1), wages, CONTINUUM)
    slope = np.log(closer / hours) / np.log((100 - rate - 1) / (100 - rate))
    assert slope == pytest.approx([0.4, 0.4, 0.4])


def test_hours_are_those_at_which_a_dollar_earned_costs_a_dollar() -> None:
    hours = best_response(WEEKLY, uniform((0,), 30), 20.0, CONTINUUM)
    marginal_cost = 52 * 0.0005 * 3.5 * float(hours) ** 2.5
    assert marginal_cost == pytest.approx(52 * 20 * 0.7)


taxpayers = st.sampled_from([1, 2, 5, 100, CONTINUUM])


@settings(max_examples=150, deadline=None)
@given(schedules(), st.sampled_from(["weekly", "v1"]), taxpayers)
def test_no_hours_on_a_fine_grid_beat_the_best_response(law: TaxSchedule, name: str, count: float) -> None:
    economy = ECONOMIES[name]
    hours = np.linspace(0, 100, 1_001)[:, None]
    best = own(economy, law, WAGES, best_response(economy, law, WAGES, count), count)
    found = own(economy, law, WAGES, hours, count).max(axis=0)
    assert (best >= found - 1e-6).all()


@settings(max_examples=50, deadline=None)
@given(schedules(), st.sampled_from([1, 10, 30]), taxpayers)
def test_the_grid_response_is_the_first_best_of_the_grid(law: TaxSchedule, step: int, count: float) -> None:
    hours = np.arange(0, 101, step)[:, None]
    worth = own(WEEKLY, law, WAGES, hours, count)
    chosen = best_response_on_grid(WEEKLY, law, WAGES, count, step)
    reached = own(WEEKLY, law, WAGES, chosen, count)
    assert reached == pytest.approx(worth.max(axis=0), abs=1e-6)
    assert (chosen % step == 0).all()
    if count == CONTINUUM:  # elsewhere the two ways to a utility differ in the last bit, and with it the ties
        assert chosen.tolist() == hours[worth.argmax(axis=0), 0].tolist()


@settings(max_examples=60, deadline=None)
@given(schedules(), st.sampled_from([1, 2, 5, 100]), st.integers(0, 1_000))
def test_best_hours_are_best_when_the_rebate_is_recomputed_for_each_choice(
    law: TaxSchedule, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    wages, labor = rng.lognormal(3, 1, count), rng.uniform(0, 100, count)
    agent = int(rng.integers(count))
    tried = np.append(np.arange(0, 100.01, 0.25), best_response(WEEKLY, law, wages, count)[agent])
    everybody = np.repeat(labor[None], len(tried), axis=0)
    everybody[:, agent] = tried
    earned = income(wages, everybody)
    owed = tax(law, earned)
    posttax = earned[:, agent] - owed[:, agent] + owed.sum(axis=1) / count
    worth = utility(WEEKLY, posttax, tried)
    assert worth[-1] >= worth.max() - 1e-6


@pytest.mark.parametrize("count", [1, 2, 5, 100, CONTINUUM])
@pytest.mark.parametrize("rate", [0.0, 30.0, 50.0, 90.0])
def test_hours_under_one_rate_follow_the_closed_form_of_the_effective_rate(count: float, rate: float) -> None:
    wages = np.array([5.0, 12.0, 30.0])
    kept = 1 - rate / 100 * (1 - 1 / count)
    expected = (kept * wages / (0.0005 * 3.5)) ** 0.4
    assert best_response(WEEKLY, uniform((0,), rate), wages, count) == pytest.approx(expected)


def test_of_five_workers_each_works_more_than_in_a_continuum_and_a_single_one_as_untaxed() -> None:
    half, wage = uniform((0,), 50), 20.0
    alone, five, many = (float(best_response(WEEKLY, half, wage, count)) for count in (1, 5, CONTINUUM))
    assert alone == float(best_response(WEEKLY, uniform((0,), 0), wage, CONTINUUM))
    assert five / many == pytest.approx(1.2**0.4)
    oracle = uniform((0,), 63)  # of the five people of the first release's defaults
    five, many = (float(best_response(WEEKLY, oracle, wage, count)) for count in (5, CONTINUUM))
    assert five / many == pytest.approx(1.12, abs=0.005)


@pytest.mark.parametrize("count", [0, 0.5, -3, math.nan])
def test_fewer_than_one_taxpayer_is_refused(count: float) -> None:
    with pytest.raises(ValueError, match="the number of taxpayers must be at least 1"):
        effective_share(count)
    with pytest.raises(ValueError, match="the number of taxpayers must be at least 1"):
        best_response(WEEKLY, US_FED, 20.0, count)


@pytest.mark.parametrize("step", [0, 101, -10])
def test_a_grid_step_that_makes_no_grid_is_refused(step: int) -> None:
    with pytest.raises(ValueError, match=f"step must be from 1 to 100 hours, not {step}"):
        best_response_on_grid(WEEKLY, US_FED, 20.0, CONTINUUM, step)


def test_workers_bunch_at_a_kink_where_the_rate_jumps() -> None:
    law = TaxSchedule(thresholds=(0, 41_600), rates=(0, 60))
    hours = best_response(WEEKLY, law, [19.9, 20.0, 20.1], CONTINUUM)
    assert income([19.9, 20.0, 20.1], hours) == pytest.approx([41_600] * 3)


def test_where_the_rate_falls_no_worker_stops_at_the_edge_and_ties_go_to_fewer_hours() -> None:
    # wage 40 gains 200 a week from 20 hours at 50 percent, and from 40 hours of which ten are untaxed
    law = TaxSchedule(thresholds=(0, 52 * 40 * 30), rates=(50, 0))
    assert best_response(QUADRATIC, law, [39.9, 40, 40.1], CONTINUUM) == pytest.approx([19.95, 20, 40.1])


def test_ties_on_the_grid_go_to_fewer_hours() -> None:
    assert float(best_response_on_grid(QUADRATIC, uniform((0,), 0), 35.0, CONTINUUM)) == 30


def test_no_one_works_for_nothing_or_more_than_a_hundred_hours() -> None:
    assert float(best_response(WEEKLY, uniform(BRACKETS["three"], 100), 20.0, CONTINUUM)) == 0
    assert float(best_response(WEEKLY, uniform(BRACKETS["three"], 0), 5_000.0, CONTINUUM)) == 100


@pytest.mark.parametrize("count", [1, 2, 5, CONTINUUM])
def test_many_schedules_at_once_get_the_replies_that_each_gets_alone(count: float) -> None:
    rates = np.random.default_rng(0).integers(0, 101, (40, 7)).astype(float)
    reply = respond(WEEKLY, US_FED.thresholds, rates, WAGES, count)
    for row, law_rates in enumerate(rates):
        law = TaxSchedule(thresholds=US_FED.thresholds, rates=tuple(law_rates))
        assert reply.labor[row] == pytest.approx(best_response(WEEKLY, law, WAGES, count), abs=1e-9)
        assert reply.income[row] == pytest.approx(income(WAGES, reply.labor[row]))
        assert reply.tax[row] == pytest.approx(tax(law, reply.income[row]), abs=1e-6)
        assert reply.surplus[row] == pytest.approx(own(WEEKLY, law, WAGES, reply.labor[row], CONTINUUM), abs=1e-6)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_wages_keep_their_shape(shape: tuple[int, ...]) -> None:
    wages = np.full(shape, 20.0)
    assert best_response(WEEKLY, US_FED, wages, CONTINUUM).shape == shape
    assert best_response_on_grid(WEEKLY, US_FED, wages, CONTINUUM).shape == shape


@pytest.mark.parametrize("wage", [0.0, -1.0, math.nan])
def test_a_wage_that_is_not_positive_is_refused(wage: float) -> None:
    with pytest.raises(ValueError, match="wages must be positive dollars an hour"):
        best_response(WEEKLY, US_FED, [20.0, wage], CONTINUUM)


def test_a_year_of_effort_is_52_weeks_of_it_and_in_v1_one() -> None:
    assert float(effort_cost(WEEKLY, 100)) == pytest.approx(260_000)
    assert float(effort_cost(ECONOMIES["v1"], 100)) == pytest.approx(5_000)
    assert float(income(10, 40)) == 20_800


@given(st.floats(-1e6, 1e6), st.floats(0, 1))
def test_dissatisfaction_never_helps(u: float, r: float) -> None:
    felt = float(adjusted_utility(u, False, r))
    assert felt <= u
    assert felt == pytest.approx(u - (1 - r) * abs(u))
    assert float(adjusted_utility(u, True, r)) == u
