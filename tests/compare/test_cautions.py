"""Cautions: known populations give known sentences, and every command prints the same ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.caution_situations import UNREACHED, lines, setting

from evals.cautions.messages import added, beforehand, of_years, told_rates
from evals.cautions.rules import Situation, blind, cautions, on_objective, on_people, under_law
from evals.policies.policy_welfare import Policy, Years, by_law, laws
from pipeline.config import build
from pipeline.economy.baselines import BASELINES
from pipeline.economy.equilibrium import settle
from pipeline.economy.tax import BRACKETS, US_FED, uniform
from pipeline.economy.welfare import WELFARE, idle_share
from pipeline.economy.welfare_terms import TERMS, terms_of, workers_by_bracket
from pipeline.simulation.world import create

NAMES = list(WELFARE)


EVEN = np.geomspace(10, 100, 40)


def situation(
    welfare: str, *, wages: Any, utility: Any, income: Any, thresholds: tuple[float, ...] = (0.0,), **more: Any
) -> Situation:
    """Years given by hand, (Y, N)."""
    columns = (np.atleast_2d(np.asarray(x, dtype=float)) for x in (wages, utility, income))
    wage, u, z = columns
    return Situation(setting(wage[0], welfare), thresholds, np.broadcast_to(wage, u.shape), u, z, **more)


# -- what is measured ----------------------------------------------------------------------------------------------


def test_a_worker_s_share_is_its_term_over_all_terms() -> None:
    u, z, w = np.array([1_000.0, 3_000.0]), np.array([100.0, 3_000.0]), np.array([1.0, 3.0])
    found = {name: terms.shares(u, z, w)[0] for name, terms in TERMS.items()}
    assert found == pytest.approx(
        {
            "inverse_income": 1 / 2,
            "paper": 10 / 11,
            "utilitarian": 1 / 4,
            "atkinson": 3 / 4,
            "equality_productivity": 100 / 3_100,
        }
    )
    assert terms_of("rawlsian") is None
    strong = terms_of("atkinson", 2.0)
    assert strong is not None
    assert strong.shares(u, z, w)[0] == pytest.approx(9 / 10)


utilities = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20)


@given(utilities, st.sampled_from(sorted(TERMS)), st.data())
def test_shares_are_of_one_whole_and_reach_idle_workers_as_idle_share_does(
    u: list[float], name: str, data: st.DataObject
) -> None:
    z = data.draw(st.lists(st.sampled_from([0.0, 50_000.0, 2e5]), min_size=len(u), max_size=len(u)))
    w = data.draw(st.lists(st.floats(0.01, 200), min_size=len(u), max_size=len(u)))
    shares = TERMS[name].shares(u, z, w)
    assert (shares >= 0).all()
    assert shares.sum() == pytest.approx(1) or not shares.any()
    if name == "paper":
        assert shares[np.array(z) == 0].sum() == pytest.approx(idle_share(u, z))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.sampled_from(sorted(BRACKETS)))
def test_every_income_is_in_one_bracket(incomes: list[float], name: str) -> None:
    edges = BRACKETS[name]
    counts = workers_by_bracket(edges, incomes)
    assert counts.sum() == len(incomes)
    if all(min(abs(z - edge) for edge in edges[1:]) > 1 for z in incomes if len(edges) > 1):
        expected = np.histogram(incomes, bins=[*edges, np.inf])[0]
        assert counts.tolist() == expected.tolist()


def test_an_income_at_a_threshold_counts_as_in_the_upper_bracket() -> None:
    assert workers_by_bracket((0, 90_000), [90_000 * (1 - 1e-12), 10]).tolist() == [1, 1]


# -- populations made by hand --------------------------------------------------------------------------------------


def test_an_ordinary_economy_has_no_cautions() -> None:
    here = setting(EVEN)
    for name in NAMES:
        played = settle(here.economy, US_FED, EVEN, np.full(40, 40.0))
        one = situation(name, wages=EVEN, utility=played.utility, income=played.income, thresholds=(0.0, 90_000.0))
        assert lines(cautions(one)) == []


def test_brackets_above_all_incomes_and_empty_brackets_between_incomes_get_different_cautions() -> None:
    edges = BRACKETS["three"]
    low = situation("rawlsian", wages=[10, 20], utility=[1, 1], income=[20_000, 80_000], thresholds=edges)
    assert lines(on_people(low)) == [f"{UNREACHED}; use more workers (--num-agents 100)."]
    split = situation("rawlsian", wages=[10, 90], utility=[1, 1], income=[20_000, 200_000], thresholds=edges)
    assert lines(on_people(split)) == [
        "bracket 2 (from 90,000 dollars) holds no worker, though higher brackets do: its rate changes no hours; "
        "use more workers (--num-agents 100)."
    ]
    other_year = [[20_000, 200_000], [20_000, 100_000]]
    both = situation("rawlsian", wages=[10, 90], utility=np.ones((2, 2)), income=other_year, thresholds=edges)
    assert lines(on_people(both)) == [], "each bracket holds somebody in one of the years"


@pytest.mark.parametrize(("workers", "way"), [(5, "100"), (100, "1000")])
def test_the_remedy_for_empty_brackets_names_more_workers_than_there_are(workers: int, way: str) -> None:
    poor = setting(np.full(workers, 10.0))
    (line,) = lines(on_people(under_law(poor, uniform(poor.thresholds, 50))))
    assert f"--num-agents {way})" in line


@pytest.mark.parametrize(
    ("name", "figures", "said"),
    [
        ("utilitarian", {"utility": [3, 1, 1, 1, 1, 1, 1, 1]}, "30% of the sum of utilities"),
        ("equality_productivity", {"income": [3, 1, 1, 1, 1, 1, 1, 1]}, "30% of all income"),
        ("atkinson", {"utility": [10, 30, 30, 30, 30, 30, 30, 30]}, "30% of the weight on a dollar"),
        ("paper", {"income": [20_000, *[60_000] * 7]}, "30% of the sum"),
        ("inverse_income", {"wages": [10, 30, 30, 30, 30, 30, 30, 30]}, "30% of the sum, two carry 40%"),
    ],
)
def test_one_worker_with_over_a_fifth_of_the_sum_is_reported_with_its_share(
    name: str, figures: dict[str, Any], said: str
) -> None:
    given_ = {"wages": [20] * 8, "utility": [100] * 8, "income": [100] * 8, **figures}
    (line,) = lines(on_objective(situation(name, **given_)))
    assert f"{name} rests on few workers: worker 0, at {given_['wages'][0]:.2f} dollars an hour, carries {said}" in line
    assert "--num-agents 100" in line


def test_two_workers_with_over_a_quarter_of_the_sum_are_reported_only_for_inverse_income() -> None:
    wages = [10, 10, *[10 / 0.4] * 10]  # terms 1, 1 and ten times 0.4: a sixth each, a third both
    (line,) = lines(on_objective(situation("inverse_income", wages=wages, utility=[100] * 12, income=[100] * 12)))
    assert "two, at 10.00 and 10.00 dollars an hour, carry 33% of the sum; use --num-agents 100." in line
    terms = [1, 1, *[0.4] * 10]
    assert lines(on_objective(situation("utilitarian", wages=[20] * 12, utility=terms, income=[100] * 12))) == []


def test_the_two_lowest_wages_of_a_hundred_workers_carry_half() -> None:
    world = create(build({"num_agents": 100}))
    (line,) = lines(on_objective(beforehand(world)))
    assert "carries 26% of the sum, two carry 49%; use --min-wage 7.25." in line
    raised = create(build({"num_agents": 100, "min_wage": 7.25}))
    assert lines(on_objective(beforehand(raised))) == []


def test_workers_with_fewer_than_ten_hours_count_as_idle() -> None:
    hours = np.r_[np.full(5, 9.9), np.full(35, 40.0)]
    income = 52 * 20 * hours
    few = situation("paper", wages=np.full(40, 20.0), utility=10 * income.max() / np.sqrt(hours), income=income)
    terms = few.utility[0] / income
    assert terms[:5].sum() / terms.sum() > 0.5
    (line,) = lines(on_objective(few))
    assert "workers with fewer than 10 hours (5 of 40) carry 54% of the sum" in line


def test_the_caution_about_idle_workers_replaces_the_one_about_a_dominant_worker() -> None:
    income = [[0, 30_000, 30_000], [30_000, 30_000, 30_000]]
    idle = situation("paper", wages=[20] * 3, utility=np.full((2, 3), 20_000), income=income)
    (line,) = lines(on_objective(idle))
    assert line == (
        "paper divides by income in 1 of 2 years: workers with fewer than 10 hours (1 of 3) carry 100% of the sum; "
        "use --welfare inverse_income."
    )


def test_the_cap_on_hours_is_reported_only_in_economy_v1() -> None:
    law = uniform(BRACKETS["three"], 50)
    (line,) = (one.line for one in on_people(under_law(setting(EVEN, economy="v1"), law)) if one.kind == "cap")
    assert (
        line == "40 of 40 workers are at the cap of 100 hours, where taxes do not change hours; use --economy weekly."
    )
    rich = setting(np.full(40, 500.0))
    assert (under_law(rich, law).income == 52 * 500 * 100).all()
    assert [one.kind for one in on_people(under_law(rich, law))] == ["passed"], "weekly workers that rich are no fault"
    poor = setting(np.full(40, 1.0), economy="v1")
    assert "cap" not in [one.kind for one in on_people(under_law(poor, law))]


def test_rawlsian_gets_a_caution_if_the_worst_off_lose_most_by_their_own_hours() -> None:
    year = {"wages": [10, 20], "utility": [1_000, 9_000], "income": [20_000, 30_000]}
    own = np.array([[500.0, 0.0]])
    (line,) = lines(on_objective(situation("rawlsian", **year, regret=own, spread=400.0)))
    assert "loses 500 dollars by its own hours, more than the 400 dollars between the laws" in line
    assert lines(on_objective(situation("rawlsian", **year, regret=own, spread=600.0))) == []
    assert lines(on_objective(situation("rawlsian", **year, regret=own[:, ::-1], spread=400.0))) == []
    assert lines(on_objective(situation("rawlsian", **year))) == [], "one worker carries it by definition"


@pytest.mark.parametrize(("name", "floor"), [("atkinson", 1.0), ("equality_productivity", 0.0)])
def test_floors_are_reported_if_utilities_fall_below_them(name: str, floor: float) -> None:
    utility = np.r_[floor - 0.5, np.full(39, 20_000.0)]
    found = [one for one in on_objective(situation(name, wages=EVEN, utility=utility, income=np.full(40, 40_000)))]
    assert [one.kind for one in found] == [f"{name}: floor"]
    assert "which affects 1 of 40 workers" in found[0].line
    utility[0] = floor
    again = on_objective(situation(name, wages=EVEN, utility=utility, income=np.full(40, 40_000)))
    assert f"{name}: floor" not in [one.kind for one in again]


def test_a_welfare_function_that_cannot_rank_the_laws_is_reported() -> None:
    assert lines(blind("rawlsian", [100.0, 100.2])) == [
        "rawlsian cannot rank the laws: they differ by only 0.20%; compare --welfare all."
    ]
    assert lines(blind("rawlsian", [100.0, 101.0])) == []


def test_played_years_are_judged_under_every_function_and_people_once() -> None:
    wages = np.array([1.71, 5.04, 8.27, 15.66, 31.70])
    here = setting(wages)
    played = settle(here.economy, US_FED, wages, np.full(5, 40.0))
    rows = (np.broadcast_to(x, (2, 5)) for x in (wages, played.utility, played.income, played.posttax, np.zeros(5)))
    years = Years(np.arange(2), *rows)
    policies: list[Policy] = [by_law(called, here, law, NAMES) for law, called in laws(here, NAMES).items()]
    kinds = [one.kind for one in of_years(here, US_FED, years, policies, NAMES)]
    assert kinds.count("unreached") == 1
    assert {"inverse_income: few", "utilitarian: few", "equality_productivity: few"} <= set(kinds)
    assert len(kinds) == len(set(kinds))


def test_oracles_law_adds_only_new_cautions() -> None:
    here = setting(np.geomspace(10, 100, 100), "paper")
    first = list(on_objective(under_law(here, uniform(here.thresholds, 50))))
    best = list(on_objective(under_law(here, BASELINES["ORACLE"](here))))
    assert [one.kind for one in added(first, best)] == ["paper: idle"]
    assert added(best, best) == []
    assert added([replace(best[0], measure=0.6)], best) == best, "three workers are not ninety"


def test_a_rate_that_no_income_reaches_is_in_parentheses() -> None:
    here = setting(np.array([10.0, 40.0]))
    assert told_rates(here, uniform(here.thresholds, 50)) == "50/50/(50)"
    assert told_rates(here, US_FED).endswith("/(35)/(37)")
