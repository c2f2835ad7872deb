"""What hours are best and what others cost, against sums done by hand and against every other whole hour."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evals.metrics.labor import LaborScore, Work, best_hours, missed
from pipeline.economy.tax import BRACKETS, US_FED, tax, uniform
from pipeline.economy.utility import CONTINUUM, ECONOMIES, best_response, best_response_on_grid
from signatures.texts.numbers import money
from signatures.types import TaxSchedule

LAW = TaxSchedule(thresholds=BRACKETS["three"], rates=(30, 60, 80))

wages = st.floats(1.0, 400.0)
laws = st.one_of(
    st.lists(st.integers(0, 100), min_size=3, max_size=3).map(
        lambda rates: TaxSchedule(thresholds=BRACKETS["three"], rates=tuple(rates))
    ),
    st.integers(0, 100).map(lambda rate: uniform((0,), rate)),
    st.just(US_FED),
)


def utility_of(work: Work, hours: int) -> float:
    """The formula of the README, term by term."""
    earned = 52 * work.wage * hours
    economy = ECONOMIES[work.economy]
    taken = float(tax(work.schedule, earned))
    # the rebate is what others pay, and the worker's own share of its own tax
    return earned - taken + taken / work.taxpayers + work.rebate - economy.weeks * economy.c * hours**economy.delta


taxpayers = st.sampled_from([1, 2, 5, 100, CONTINUUM])


@given(wages, laws, st.sampled_from(sorted(ECONOMIES)), st.floats(0, 50_000), taxpayers)
@settings(max_examples=60)
def test_no_other_whole_hour_beats_the_label(
    wage: float, law: TaxSchedule, economy: str, rebate: float, count: float
) -> None:
    work = Work(wage, law, rebate, economy, taxpayers=count)
    best = best_hours(work)
    utilities = [utility_of(work, hours) for hours in range(101)]
    assert utilities[best] >= max(utilities) - 1e-6
    on_grid = int(best_response_on_grid(ECONOMIES[economy], law, wage, count, step=1))
    assert best == on_grid or utilities[best] == pytest.approx(utilities[on_grid])


@given(wages, laws)
@settings(max_examples=60)
def test_who_works_the_label_regrets_nothing_and_scores_all(wage: float, law: TaxSchedule) -> None:
    work = Work(wage, law)
    found = missed(work, best_hours(work))
    assert (found.regret, found.score) == (0.0, 1.0)
    assert "the best for you" in str(found)


@given(wages, laws, st.integers(0, 100), st.floats(0, 50_000), taxpayers)
@settings(max_examples=100)
def test_regret_is_in_exact_dollars_and_so_is_what_is_said(
    wage: float, law: TaxSchedule, hours: int, rebate: float, count: float
) -> None:
    work = Work(wage, law, rebate, taxpayers=count)
    found = missed(work, hours)
    best = max(utility_of(work, each) for each in range(101))
    assert found.regret == pytest.approx(best - utility_of(work, hours), abs=1e-6)
    assert found.best_utility == pytest.approx(best, abs=1e-6)
    assert 0 <= found.score <= 1
    if hours != found.best:
        assert f"{found.best} would have left you {money(found.regret)} a year better off" in str(found)
        pay, effort = (found.pay, found.effort) if hours < found.best else (found.effort, found.pay)
        assert pay - effort == pytest.approx(found.regret, abs=1e-6)


@given(wages, laws)
@settings(max_examples=30)
def test_the_score_falls_as_regret_grows(wage: float, law: TaxSchedule) -> None:
    found = sorted((missed(Work(wage, law), hours) for hours in range(101)), key=lambda each: each.regret)
    scores = [each.score for each in found]
    assert scores == sorted(scores, reverse=True)


@given(st.floats(3.0, 150.0), st.integers(0, 80), st.integers(0, 50), taxpayers)
@settings(max_examples=50)
def test_scores_compare_over_wages(wage: float, rate: int, hours: int, count: float) -> None:
    # u(s*l) / u(l) = (delta*s - s**delta) / (delta - 1) where l is best: nothing of the wage or the tax is left
    law = uniform((0,), rate)
    best = float(best_response(ECONOMIES["weekly"], law, wage, count))
    assume(best < 100)
    delta, share = ECONOMIES["weekly"].delta, hours / best
    expected = max(0.0, (delta * share - share**delta) / (delta - 1))
    assert missed(Work(wage, law, taxpayers=count), hours).score == pytest.approx(expected, abs=0.005)


def test_of_two_workers_each_keeps_half_of_its_own_tax_and_is_told_so() -> None:
    law = uniform(BRACKETS["three"], 60)
    assert "you keep 40 cents of a dollar" in str(missed(Work(30.0, law), 90))
    assert "you keep 70 cents of a dollar" in str(missed(Work(30.0, law, taxpayers=2), 90))
    # (0.7 / 0.4)^0.4 = 1.25 times the hours
    assert best_hours(Work(30.0, law, taxpayers=2)) / best_hours(Work(30.0, law)) == pytest.approx(1.25, abs=0.03)


def test_where_work_is_worth_nothing_only_idling_scores() -> None:
    work = Work(30.0, uniform((0,), 100))
    assert [missed(work, hours).score for hours in (0, 1, 40)] == [1.0, 0.0, 0.0]


def test_regret_is_a_share_of_the_best_utility_with_the_rebate() -> None:
    found = missed(Work(30.0, LAW, rebate=10_000.0), 60)
    assert found.share == pytest.approx(found.regret / (found.best_surplus + 10_000))


def said(hours: int, *, wage: float = 60.0, law: TaxSchedule = LAW) -> LaborScore:
    return missed(Work(wage, law), hours)


def test_who_works_too_much_is_told_what_the_last_dollar_leaves() -> None:
    text = str(said(80))
    assert text.startswith("You worked 80 hours; 45 would have left you $77,593 a year better off")
    assert "because above $159,100 you keep 20 cents of a dollar" in text


def test_who_works_too_little_is_told_what_the_next_dollar_leaves() -> None:
    text = str(said(10))
    assert "hours more would have brought" in text
    assert "as up to $90,000 you keep 70 cents of a dollar" in text


def test_on_an_edge_the_last_dollar_is_that_of_the_bracket_below() -> None:
    wage = 90_000 / 52 / 40
    assert "up to $90,000 you keep 70 cents" in str(said(40, wage=wage))
    assert "above $90,000 you keep 40 cents" in str(said(41, wage=wage))


def test_one_rate_for_all_needs_no_brackets_in_words() -> None:
    assert "you keep 62.5 cents of a dollar" in str(said(70, law=uniform(BRACKETS["three"], 37.5)))
    assert "$90,000" not in str(said(70, law=uniform(BRACKETS["three"], 37.5)))
