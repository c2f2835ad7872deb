"""The population: wages are those of the mix, and fit the people who earn them."""

import math
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.economy.census import EARNINGS_DISPERSION, draw_people, read_table
from pipeline.economy.effort import OWN
from pipeline.economy.population import (
    POPULATIONS,
    UTILITY_TYPES,
    Population,
    couple_by_rank,
    draw_population,
    utility_type_counts,
)
from pipeline.economy.wages import MIN_WAGE
from signatures.types import Demographics


def rng(seed: int = 42) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_wage_fits_its_job_in_every_mix() -> None:
    for mix in POPULATIONS:
        drawn = draw_population(mix, 100_000, rng(), demographics=True)
        medians = [
            np.median(drawn.wage[drawn.occupation == job])
            for job in (
                "Physicians and surgeons",
                "Registered nurses",
                "Carpenters",
                "Waiters and waitresses",
            )
        ]
        assert medians == sorted(medians, reverse=True), mix
        assert medians[0] > 2 * medians[-1], mix


def test_a_wage_fits_its_job_even_for_one_agent_alone() -> None:
    """Ranks among one would say nothing, so these are the wages that the pool puts in their places."""
    medians = {(row["occupation"], row["sex"]): float(row["median_full_time_usd"]) for row in read_table("occupations")}
    alone = [draw_population("us_income", 1, rng(seed), demographics=True) for seed in range(150)]
    paid = [(medians[agent.occupation[0], agent.sex[0]], agent.wage[0]) for agent in alone]
    well = [wage for median, wage in paid if median > 75_000]
    poorly = [wage for median, wage in paid if median < 30_000]
    assert min(len(well), len(poorly)) > 10
    assert np.median(well) > 2.5 * np.median(poorly)


@settings(deadline=None, max_examples=15)
@given(mix=st.sampled_from(sorted(POPULATIONS)), seed=st.integers(0, 2**32), num_agents=st.integers(1, 300))
def test_wages_do_not_depend_on_who_is_asked_or_what_they_want(mix: str, seed: int, num_agents: int) -> None:
    plain = draw_population(mix, num_agents, rng(seed), demographics=False)
    rich = draw_population(
        mix, num_agents, rng(seed), demographics=True, percent_ego=20, percent_alt=30, percent_adv=50
    )
    assert np.array_equal(plain.wage, rich.wage)
    assert rich.num_agents == num_agents
    assert all(isinstance(rich.demographics(agent), Demographics) for agent in range(num_agents))


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32), num_agents=st.integers(1, 300))
def test_coupling_gives_every_wage_the_person_of_its_rank(seed: int, num_agents: int) -> None:
    wage = rng(seed).uniform(1, 100, num_agents)
    people = draw_people(num_agents, rng(seed))
    coupled = couple_by_rank(wage, people)
    assert np.array_equal(np.argsort(coupled.earnings), np.argsort(wage))
    rows = zip(people.occupation, people.sex, people.age, people.earnings, strict=True)
    coupled_rows = zip(coupled.occupation, coupled.sex, coupled.age, coupled.earnings, strict=True)
    assert sorted(coupled_rows) == sorted(rows)


@pytest.mark.parametrize("num_agents", [8_000, 50_000])  # below and above the size of the coupling pool
def test_people_of_a_wage_mix_are_those_of_the_census(num_agents: int) -> None:
    drawn = draw_population("uniform", num_agents, rng(), demographics=True)
    assert drawn.sex is not None
    assert (drawn.sex == "Female").mean() == pytest.approx(47_989_329 / 111_195_237, abs=0.015)


def test_the_acs_wage_is_full_time_earnings_by_the_hour() -> None:
    drawn = draw_population("acs", 100_000, rng(), demographics=False)
    assert np.quantile(drawn.wage * 2080, [0.25, 0.5, 0.75]) == pytest.approx([31_067, 48_786, 78_314], rel=0.02)
    assert drawn.income_at_40_hours == pytest.approx(drawn.wage * 2080)


def test_few_full_time_workers_are_below_the_minimum_wage() -> None:
    """The figures of README and docs/population.md, from the lognormal of each cell and from a sample."""
    rows = read_table("occupations")
    weights = np.array([float(row["full_time"]) for row in rows])
    drawn = draw_population("acs", 500_000, rng(), demographics=False)
    for dollars, share, digits in ((7.25, 0.0412, 5e-5), (2.0, 0.0001, 5e-6)):
        gaps = [math.log(dollars * 2080 / float(row["median_full_time_usd"])) for row in rows]
        below = np.array([math.erfc(-gap / EARNINGS_DISPERSION / math.sqrt(2)) / 2 for gap in gaps])
        assert np.average(below, weights=weights) == pytest.approx(share, abs=digits)
        assert (drawn.wage < dollars).mean() == pytest.approx(share, abs=4.5 * math.sqrt(share / 500_000))


@settings(deadline=None, max_examples=20)
@given(mix=st.sampled_from(sorted(POPULATIONS)), seed=st.integers(0, 2**32), floor=st.floats(0.01, 1_000))
def test_a_minimum_wage_raises_lower_wages_and_changes_nothing_else(mix: str, seed: int, floor: float) -> None:
    plain, raised = (
        draw_population(mix, 200, rng(seed), demographics=True, percent_ego=50, percent_alt=50, min_wage=least)
        for least in (MIN_WAGE, floor)
    )
    assert np.array_equal(raised.wage, np.maximum(plain.wage, floor))
    for name in ("utility_type", "occupation", "sex", "age"):
        assert np.array_equal(getattr(raised, name), getattr(plain, name)), name


def test_a_minimum_wage_is_in_the_dollars_of_the_run() -> None:
    drawn = draw_population("acs", 5_000, rng(), demographics=False, dollars_of=2024, min_wage=12.0)
    plain = draw_population("acs", 5_000, rng(), demographics=False)
    assert drawn.wage == pytest.approx(np.maximum(plain.wage * 313.689 / 251.107, 12.0))


@pytest.mark.parametrize("floor", [0.0, -1.0, math.nan, math.inf])
def test_a_minimum_wage_that_is_none_is_refused(floor: float) -> None:
    with pytest.raises(ValueError, match=r"at least 0\.01 dollars an hour, not"):
        draw_population("acs", 5, rng(), demographics=False, min_wage=floor)


def test_only_acs_knows_its_people_unasked() -> None:
    known = {mix: draw_population(mix, 3, rng(), demographics=False).demographics(0) for mix in POPULATIONS}
    assert [mix for mix, person in known.items() if person is not None] == ["acs"]


@pytest.mark.parametrize("mix", sorted(POPULATIONS))
def test_the_seed_is_the_population(mix: str) -> None:
    shares = {"percent_ego": 40, "percent_alt": 30, "percent_adv": 30}
    once, again, other = (draw_population(mix, 200, rng(seed), demographics=True, **shares) for seed in (1, 1, 2))
    for name, column in vars(once).items():
        assert np.array_equal(column, vars(again)[name]), name
        if name not in OWN:  # not drawn here
            assert not np.array_equal(column, vars(other)[name]), name


def test_utility_types_come_in_their_percentages_and_shuffled() -> None:
    drawn = draw_population("uniform", 1000, rng(), demographics=False, percent_ego=50, percent_alt=30, percent_adv=20)
    assert Counter(drawn.utility_type) == {"egotistical": 500, "altruistic": 300, "adversarial": 200}
    first_half = Counter(drawn.utility_type[:500])
    assert 200 < first_half["egotistical"] < 300


@given(num_agents=st.integers(1, 10**6), ego=st.integers(0, 100), alt=st.integers(0, 100))
def test_counts_are_whole_agents_within_one_of_their_quota(num_agents: int, ego: int, alt: int) -> None:
    alt = min(alt, 100 - ego)
    percents = (ego, alt, 100 - ego - alt)
    counts = utility_type_counts(num_agents, *percents)
    assert sum(counts) == num_agents
    for count, percent in zip(counts, percents, strict=True):
        assert abs(count - num_agents * percent / 100) < 1
        assert percent or not count


def test_thirds_of_a_hundred_are_percentages_too() -> None:
    assert utility_type_counts(3, 100 / 3, 100 / 3, 100 / 3) == [1, 1, 1]
    assert utility_type_counts(4, 33.4, 33.3, 33.3) == [2, 1, 1]


@pytest.mark.parametrize("percents", [(100, 1, 0), (50, 25, 24), (150, -50, 0), (0, 0, 0), (math.nan, 50, 50)])
def test_percentages_that_do_not_add_to_100_are_refused(percents: tuple[float, float, float]) -> None:
    ego, alt, adv = percents
    with pytest.raises(ValueError, match="add to 100") as refusal:
        draw_population("acs", 5, rng(), demographics=False, percent_ego=ego, percent_alt=alt, percent_adv=adv)
    message = str(refusal.value)
    assert "\n" not in message
    assert f"percent-ego {ego:g}, percent-alt {alt:g} and percent-adv {adv:g}" in message


def test_an_unknown_mix_and_an_empty_population_are_refused() -> None:
    with pytest.raises(ValueError, match="'us': choose one of us_income, uniform, acs"):
        draw_population("us", 5, rng(), demographics=False)
    with pytest.raises(ValueError, match="at least 1 agent, not 0"):
        draw_population("acs", 0, rng(), demographics=False)


def test_columns_of_different_lengths_are_no_population() -> None:
    types = np.array(UTILITY_TYPES, dtype=object)
    with pytest.raises(ValueError, match="all of the same length"):
        Population(np.ones(2), types)
    with pytest.raises(ValueError, match="2 or all 5"):
        Population(np.ones(3), types, age=np.array([20, 30, 40]))


def test_a_million_people_are_drawn_in_seconds() -> None:
    start = time.perf_counter()
    drawn = draw_population("us_income", 1_000_000, rng(), demographics=True)
    assert drawn.num_agents == 1_000_000
    assert time.perf_counter() - start < 10  # 0.7 s on an idle machine; a loop over agents takes far longer
