"""What a planner can reach, and what a change was worth, against every other change."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from evals.metrics import tax_rates as judged
from evals.metrics.tax_rates import RateChangeScore, reachable, welfare_score
from pipeline.economy import one_step_reforms as steps
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.income_effects.consumption import worth
from pipeline.economy.tax import BRACKETS, uniform
from pipeline.economy.utility import ECONOMIES
from pipeline.economy.wages import wages_us_income
from pipeline.economy.welfare import WELFARE
from pipeline.economy.yardsticks import People, yardsticks
from signatures.types import TaxSchedule

WEEKLY = ECONOMIES["weekly"]
MOVES = (-20, -10, 0, 10, 20)
VILLAGE = (7.0, 12.0, 25.0, 60.0, 150.0)


def law(*rates: float, brackets: str = "three") -> TaxSchedule:
    return TaxSchedule(thresholds=BRACKETS[brackets], rates=rates)


def wages(seed: int, num_agents: int = 5) -> tuple[float, ...]:
    return tuple(wages_us_income(num_agents, np.random.default_rng(seed)).tolist())


def welfare(schedule: TaxSchedule, wages: tuple[float, ...], name: str) -> float:
    year = equilibrium(WEEKLY, schedule, wages)
    return float(WELFARE[name](year.utility, year.income, np.array(wages)))


def moved(*change: int, people: People | None = None, before: TaxSchedule | None = None) -> RateChangeScore:
    people = people or People(VILLAGE, BRACKETS["three"])
    return RateChangeScore(people, before or uniform(people.thresholds, 50), change)


@pytest.mark.first_cases(14)
@pytest.mark.parametrize("name", WELFARE)
@pytest.mark.parametrize(("seed", "before"), [(1, law(50, 50, 50)), (2, law(10, 90, 0)), (3, law(0, 100, 40))])
def test_on_three_brackets_no_change_beats_the_label(name: str, seed: int, before: TaxSchedule) -> None:
    every = [before.changed(change) for change in itertools.product(MOVES, repeat=3)]
    heights = [welfare(schedule, wages(seed), name) for schedule in every]
    found = steps.extreme_steps(WEEKLY, before, np.array(wages(seed)), WELFARE[name])
    assert found.highest == pytest.approx(max(heights), rel=1e-12)
    assert found.lowest == pytest.approx(min(heights), rel=1e-12)
    assert welfare(before.changed(found.best), wages(seed), name) == pytest.approx(max(heights), rel=1e-12)
    assert welfare(before.changed(found.worst), wages(seed), name) == pytest.approx(min(heights), rel=1e-12)


def test_of_equal_changes_the_smallest_is_taken() -> None:
    # nobody earns 159,100 dollars, and without taxes there is nothing to lower
    found = steps.extreme_steps(WEEKLY, law(0, 0, 50), np.array([10.0, 20.0]), WELFARE["utilitarian"])
    assert found.best == (0, 0, 0)
    found = steps.extreme_steps(WEEKLY, law(10, 0, 50), np.array([10.0, 20.0]), WELFARE["utilitarian"])
    assert found.best == (-10, 0, 0)


@pytest.mark.parametrize("name", ["inverse_income", "equality_productivity"])
@pytest.mark.parametrize("seed", [4, 6])
def test_on_seven_brackets_the_climb_finds_what_trying_all_finds(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    before = law(*(10.0 * rng.integers(0, 11, 7)), brackets="US_FED")
    people = np.array(wages(seed))
    every = steps.welfare_after(WEEKLY, before, people, WELFARE[name], steps.all_steps(7))
    found = steps.extreme_steps(WEEKLY, before, people, WELFARE[name])
    assert found.highest == pytest.approx(every.max(), rel=1e-9)
    assert found.lowest == pytest.approx(every.min(), rel=1e-9)


@pytest.mark.parametrize("name", WELFARE)
def test_the_best_change_scores_one_the_worst_none_and_all_others_between(name: str) -> None:
    people = People(VILLAGE, BRACKETS["three"], name)
    reach = moved(people=people).reach
    assert moved(*reach.best, people=people).score == 1
    assert moved(*reach.worst, people=people).score == pytest.approx(0, abs=1e-9)
    stay = moved(0, 0, 0, people=people)
    low, high = reach.lowest, reach.highest
    assert stay.score == pytest.approx((welfare(stay.before, VILLAGE, name) - low) / (high - low))


def test_where_no_rate_matters_every_change_is_as_good() -> None:
    alone = People((20.0,), (0.0, 1e7))
    here = law(0, 0, 0)
    rich = moved(0, 20, people=alone, before=TaxSchedule(thresholds=alone.thresholds, rates=here.rates[:2]))
    assert rich.score == 1
    assert "no change reaches more" in str(rich)


def test_the_share_is_that_of_oracles_gain() -> None:
    start, oracle = yardsticks(moved(0, 0, 0).people).start, yardsticks(moved(0, 0, 0).people).oracle
    assert moved(0, 0, 0).share == pytest.approx(0, abs=1e-12)
    for change in ((20, 10, 10), (-20, -20, 0), (10, 0, 0)):
        made = moved(*change)
        assert made.share == pytest.approx((welfare(made.after, VILLAGE, "inverse_income") - start) / (oracle - start))
        assert made.share_score == pytest.approx(min(1, max(0, made.share)))
    assert moved(-20, -20, 0).share < 0
    assert (
        f"The result reaches {moved(-20, -20, 0).share:.1%} of the gain of ORACLE"
        in moved(-20, -20, 0).share_in_words()
    )


def test_oracles_own_schedule_has_all_of_the_gain() -> None:
    people = People(VILLAGE, BRACKETS["three"])
    best = law(*yardsticks(people).oracle_rates)
    assert moved(0, 0, 0, people=people, before=best).share == pytest.approx(1)
    assert moved(0, 0, 0, people=people, before=best).share_score == pytest.approx(1)


def test_a_tiny_loss_does_not_score_zero_where_there_is_nothing_to_gain() -> None:
    nothing = People((20.0,), (0.0,), "utilitarian")  # alone one pays oneself; only hours are lost
    assert moved(0, people=People((20.0,), (0.0,), "utilitarian"), before=uniform((0,), 0)).share_score == 1
    assert yardsticks(nothing).oracle == pytest.approx(yardsticks(nothing).free_market)
    flat = People((20.0, 20.0), (0.0, 1e7))
    assert moved(0, 0, people=flat, before=uniform(flat.thresholds, 0)).share_score == 1


def test_the_planner_is_told_which_rate_is_wrong_and_what_it_costs() -> None:
    made = moved(20, -20, -20)
    text = str(made)
    assert "+20/-20/-20 leads to 70/30/30" in text
    fixed = max(welfare(made.before.changed((20, -20, move)), VILLAGE, "inverse_income") for move in MOVES)
    assert f"that alone costs {judged.figure(fixed - made.welfare)}" in text
    assert "The rate above $159,100 is 40 points too low" in text
    assert text.index("above $159,100") < text.index("from $90,000 to $159,100"), "the costliest first"


def test_where_several_rates_must_move_together_that_is_said() -> None:
    people, before = People(wages(24), BRACKETS["three"], "rawlsian"), law(70, 0, 20)
    made = moved(10, 10, -10, people=people, before=before)
    alone = [(*made.change[:i], move, *made.change[i + 1 :]) for i in range(3) for move in MOVES]
    assert max(welfare(before.changed(change), wages(24), "rawlsian") for change in alone) <= made.welfare * (1 + 1e-12)
    assert made.score < 0.9
    assert "No single rate is wrong: several must change together." in str(made)


@pytest.mark.first_cases(4)
@pytest.mark.parametrize("name", WELFARE)
def test_welfare_is_scored_between_idling_and_oracle(name: str) -> None:
    measure = yardsticks(People(VILLAGE, BRACKETS["three"], name))
    low = min(measure.free_market, measure.start)
    assert welfare_score(measure.oracle, measure) == 1
    assert welfare_score(measure.oracle + 1, measure) == 1
    assert welfare_score(low, measure) == pytest.approx(0.5)
    assert welfare_score(measure.idle, measure) == 0
    assert welfare_score(measure.idle - 1, measure) == 0
    between = [welfare_score(each, measure) for each in np.linspace(measure.idle, measure.oracle, 20)]
    assert between == sorted(set(between)), "always growing"


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_public_spending_counts_where_the_level_of_utilities_does(gamma: float) -> None:
    """`atkinson` cares more about the poor when all have less; so does a falling worth of a dollar."""
    objective = "utilitarian" if gamma else "atkinson"
    people = People(wages(12), BRACKETS["three"], objective, gamma=gamma, windfall=-6_000.0)
    made = moved(10, 0, 0, people=people)
    year = equilibrium(people.effort, made.after, np.array(people.wages), windfall=-6_000.0)
    assert made.welfare == pytest.approx(float(WELFARE[objective](year.utility, year.income, np.array(people.wages))))
    every = [people.welfare_under(made.before.changed(step)) for step in itertools.product(MOVES, repeat=3)]
    assert made.reach.highest == pytest.approx(max(every))
    assert made.reach.highest != pytest.approx(reachable(replace(people, windfall=0.0), made.before.rates).highest)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("windfall", [-3_000.0, 0.0, 2_000.0])
def test_idling_is_worth_what_those_have_who_do_not_work(gamma: float, windfall: float) -> None:
    people = People(VILLAGE, BRACKETS["three"], "utilitarian", gamma=gamma, windfall=windfall)
    measure = yardsticks(people)
    assert measure.idle == pytest.approx(float(worth(people.effort, windfall)))
    assert measure.idle < measure.start <= measure.oracle
    assert 0 < welfare_score((measure.start + measure.oracle) / 2, measure) < 1
