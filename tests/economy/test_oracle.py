"""ORACLE: no planner beats it, its certificate says so, and brute force agrees."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.economy import oracle as search
from pipeline.economy.baselines import BASELINES, Setting, certified_oracle, objective
from pipeline.economy.equilibrium import equilibrium, welfare_of
from pipeline.economy.oracle import optimum
from pipeline.economy.population import POPULATIONS, draw_population
from pipeline.economy.tax import BRACKETS, US_FED, FloatArray
from pipeline.economy.utility import ECONOMIES
from pipeline.economy.wages import wages_us_income
from pipeline.economy.welfare import WELFARE
from signatures.types import TaxSchedule

WEEKLY = ECONOMIES["weekly"]


def us_wages(num_agents: int, seed: int = 0) -> FloatArray:
    return wages_us_income(num_agents, np.random.default_rng(seed))


def welfare(law: TaxSchedule, wages: FloatArray, name: str) -> float:
    """Welfare when everybody best-responds, computed from the booked year and not from the oracle's own tables."""
    year = equilibrium(WEEKLY, law, wages)
    return float(WELFARE[name](year.utility, year.income, wages))


def oracle(thresholds: tuple[float, ...], wages: FloatArray, name: str, *rivals: TaxSchedule) -> TaxSchedule:
    return optimum(WEEKLY, thresholds, wages, WELFARE[name], rivals).schedule


def steps(rates: tuple[float, ...], moves: Sequence[float], *, together: int) -> FloatArray:
    """Every schedule (M, B) that differs from `rates` by one of the `moves`, up or down, in up to `together` rates."""
    either = [sign * move for move in moves for sign in (1, -1)]
    made = []
    for number in range(1, together + 1):
        for places in itertools.combinations(range(len(rates)), number):
            for change in itertools.product(either, repeat=number):
                moved = np.array(rates, dtype=float)
                moved[list(places)] += change
                made.append(moved.clip(0, 100))
    return np.array(made)


def gain(law: TaxSchedule, wages: FloatArray, name: str, moves: Sequence[float] = (10, 20), together: int = 1) -> float:
    """The most that such a step adds to welfare, as a share of it; below 0 where each of them loses."""
    reached = welfare(law, wages, name)
    around = welfare_of(WEEKLY, law.thresholds, steps(law.rates, moves, together=together), wages, WELFARE[name])
    return float((around.max() - reached) / abs(reached))


def test_without_effects_on_equality_no_tax_is_best() -> None:
    assert oracle(BRACKETS["three"], us_wages(50), "utilitarian").rates == (0, 0, 0)


def test_for_the_poorest_alone_the_flat_tax_with_the_most_revenue_is_best() -> None:
    # incomes go with (1-tau)**0.4, so revenue peaks at 1/1.4 = 71.4 percent; the poorest earn next to nothing
    wages = np.array([0.01, *np.geomspace(10, 90, 40)])
    # of 41 taxpayers each gets a forty-first of its own tax back
    assert oracle((0,), wages, "rawlsian").rates[0] == pytest.approx(100 / 1.4 / (1 - 1 / 41), abs=0.05)


@pytest.mark.parametrize("name", WELFARE)
def test_the_best_on_the_grid_is_the_best_of_all_rates_there_and_not_above_the_oracle(name: str) -> None:
    wages, edges = us_wages(7, seed=3), (0.0, 60_000.0)
    grid = [TaxSchedule(thresholds=edges, rates=pair) for pair in itertools.product(range(0, 101, 10), repeat=2)]
    highest = max(welfare(law, wages, name) for law in grid)
    on_grid = optimum(WEEKLY, edges, wages, WELFARE[name]).certificate.grid
    assert set(on_grid.rates) <= set(range(0, 101, 10))
    assert welfare(on_grid, wages, name) == pytest.approx(highest)
    assert welfare(oracle(edges, wages, name), wages, name) >= highest * (1 - 1e-12)


@pytest.mark.first_cases(7)
@pytest.mark.parametrize("name", WELFARE)
@pytest.mark.parametrize(("brackets", "num_agents"), [("three", 5), ("three", 100), ("US_FED", 20)])
def test_no_step_in_one_rate_or_in_two_improves_the_oracle(name: str, brackets: str, num_agents: int) -> None:
    wages = us_wages(num_agents, seed=1)
    law = oracle(BRACKETS[brackets], wages, name)
    assert gain(law, wages, name, (20, 10, 5, 2, 1), together=2) <= 1e-9


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(("name", "seed"), [("rawlsian", 7), ("equality_productivity", 1)])
def test_on_seven_brackets_the_oracle_finds_what_sixty_random_climbs_find(name: str, seed: int) -> None:
    # seeds with many local optima: a climb from 50 percent ends one to three percent below the best
    wages = us_wages(20, seed)

    def height(rates: FloatArray) -> FloatArray:
        return welfare_of(WEEKLY, US_FED.thresholds, rates, wages, WELFARE[name])

    starts = np.random.default_rng(0).integers(0, 11, (60, 7)) * 10.0
    moves = (20.0, 10.0)
    found = height(np.array([search._climb(height, start, moves, together=2) for start in starts])).max()
    from_half = height(search._climb(height, np.full(7, 50.0), moves, together=2)[None])[0]
    law, proof = optimum(WEEKLY, US_FED.thresholds, wages, WELFARE[name])
    best, on_grid = welfare(law, wages, name), welfare(proof.grid, wages, name)
    assert best >= found * (1 - 1e-9)
    assert best > from_half * 1.005
    assert found * (1 - 1e-9) <= on_grid <= best * (1 + 1e-12)


def test_a_climb_that_moves_two_rates_at_once_follows_a_ridge() -> None:
    def ridge(rates: FloatArray) -> FloatArray:
        return -100 * (rates[:, 0] - rates[:, 1]) ** 2 - (rates.sum(axis=1) - 140) ** 2

    start = np.array([50.0, 50.0])
    assert search._climb(ridge, start, (20.0, 10.0), together=1).tolist() == [50, 50]
    assert search._climb(ridge, start, (20.0, 10.0), together=2).tolist() == [70, 70]


@given(st.integers(0, 10_000), st.sampled_from(("three", "US_FED")), st.sampled_from((1, 2)))
@settings(max_examples=5)
def test_climbs_side_by_side_end_where_each_ends_alone(seed: int, brackets: str, together: int) -> None:
    rng = np.random.default_rng(seed)
    wages, moves = us_wages(6, seed), (20.0, 10.0)
    turns = search._turns(len(BRACKETS[brackets]), together)

    def height(rates: FloatArray) -> FloatArray:
        return welfare_of(WEEKLY, BRACKETS[brackets], rates, wages, WELFARE["atkinson"])

    def alone(here: FloatArray) -> FloatArray:
        turn = idle = 0
        while idle < len(turns):
            around = search._neighbours(here, moves, turns[turn])
            best = around[np.argmax(height(around))]
            if height(best[None])[0] > height(here[None])[0] * (1 + search.ROUNDING):
                here, idle = best, 0
            else:
                turn, idle = (turn + 1) % len(turns), idle + 1
        return here

    starts = rng.integers(0, 11, (8, len(BRACKETS[brackets]))) * 10.0
    starts[-1] = starts[0]  # two from one place
    ends = search._ends(height, starts, moves, together=together)
    assert ends.tolist() == [alone(start).tolist() for start in starts]


@given(st.integers(0, 1_000), st.lists(st.floats(0, 100), min_size=3, max_size=3))
@example(101, [0.0, 1.25, 0.0])  # took the place of a climb that came higher
@settings(max_examples=10, deadline=None)
def test_no_rival_is_above_the_oracle_and_one_on_other_brackets_is_not_mistaken(seed: int, rates: list[float]) -> None:
    wages = us_wages(8, seed)
    rival = TaxSchedule(thresholds=BRACKETS["three"], rates=tuple(rates))
    elsewhere = TaxSchedule(thresholds=(0, 1, 2), rates=tuple(rates))
    best = oracle(BRACKETS["three"], wages, "equality_productivity", US_FED, rival, elsewhere)
    assert best.thresholds == BRACKETS["three"]
    reached = welfare(best, wages, "equality_productivity")
    assert reached >= welfare(rival, wages, "equality_productivity") * (1 - 1e-12)
    assert reached >= welfare(oracle(BRACKETS["three"], wages, "equality_productivity"), wages, "equality_productivity")


@pytest.mark.parametrize("brackets", ["three", "US_FED"])
def test_the_oracle_gives_the_same_answer_twice(brackets: str) -> None:
    wages = us_wages(40)
    first, second = (oracle(BRACKETS[brackets], wages, "atkinson") for _ in range(2))
    assert first == second


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(("brackets", "scouts"), [("three", "grid"), ("three", "lattice"), ("US_FED", "climb")])
def test_a_large_population_is_scouted_by_a_part_and_climbed_by_all(
    brackets: str, scouts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wages = us_wages(300)
    exact = welfare(oracle(BRACKETS[brackets], wages, "rawlsian"), wages, "rawlsian")
    monkeypatch.setattr(search, "SAMPLES", {**search.SAMPLES, scouts: 30})
    law = oracle(BRACKETS[brackets], wages, "rawlsian")
    assert welfare(law, wages, "rawlsian") == pytest.approx(exact, rel=0.005)
    assert gain(law, wages, "rawlsian") <= 1e-9


# The certificate

names = st.sampled_from(sorted(WELFARE))


@given(st.integers(0, 10_000), st.integers(1, 12), names)
@settings(max_examples=12, deadline=None)
def test_on_three_brackets_nothing_on_the_grid_beats_what_is_certified(seed: int, num_agents: int, name: str) -> None:
    wages = us_wages(num_agents, seed)
    law, proof = optimum(WEEKLY, BRACKETS["three"], wages, WELFARE[name])
    grid = np.array(list(itertools.product(range(0, 101, 10), repeat=3)), dtype=float)
    every = welfare_of(WEEKLY, BRACKETS["three"], grid, wages, WELFARE[name])
    assert proof.welfare == pytest.approx(welfare(law, wages, name))
    assert proof.welfare >= every.max() - 1e-9 * abs(every.max())
    assert welfare(proof.grid, wages, name) == pytest.approx(every.max())
    assert proof.grid_welfare <= proof.welfare
    assert (proof.enumerated, proof.starts) == (True, 1_331)
    assert proof.improvement <= 0


@given(st.integers(0, 10_000), st.integers(2, 12), names)
@settings(max_examples=12, deadline=None)
def test_the_local_optima_are_those_that_brute_force_counts(seed: int, num_agents: int, name: str) -> None:
    wages, edges = us_wages(num_agents, seed), (0.0, 60_000.0)
    pairs = list(itertools.product(range(0, 101, 10), repeat=2))
    height = {pair: welfare(TaxSchedule(thresholds=edges, rates=pair), wages, name) for pair in pairs}

    def is_top(one: tuple[int, int]) -> bool:
        steps = [(d, 0) for d in (-20, -10, 10, 20)] + [(0, d) for d in (-20, -10, 10, 20)]
        near = [height[b] for a, d in steps if (b := (one[0] + a, one[1] + d)) in height]
        return max(near) <= height[one] + 1e-10 * abs(height[one])

    tops = sorted((height[pair] for pair in pairs if is_top(pair)), reverse=True)
    distinct = [x for i, x in enumerate(tops) if i == 0 or tops[i - 1] - x > 1e-9 * abs(tops[i - 1])]
    proof = optimum(WEEKLY, edges, wages, WELFARE[name]).certificate
    assert proof.optima == len(distinct)
    # climbs over two rates at once end nowhere but there, and the polish not below
    assert proof.grid_welfare == pytest.approx(distinct[0])
    assert proof.welfare >= proof.grid_welfare * (1 - 1e-12)
    assert proof.runner_up is None or proof.runner_up < proof.welfare


@pytest.mark.slow
@given(st.integers(0, 10_000), st.integers(2, 40), names)
@settings(max_examples=6, deadline=None)
def test_on_seven_brackets_the_certificate_is_what_brute_force_finds(seed: int, num_agents: int, name: str) -> None:
    where = Setting(WEEKLY, US_FED.thresholds, us_wages(num_agents, seed), name)
    law, proof = certified_oracle(where)
    missing = gain(law, where.wages, name, search.POLISH, together=2) * abs(proof.welfare)
    assert proof.improvement == pytest.approx(min(missing, 0), abs=1e-9 * abs(proof.welfare))
    assert proof.improvement <= 0
    assert proof.runner_up is None or proof.runner_up < proof.welfare
    assert (proof.enumerated, proof.starts) == (False, 32)
    for rule in BASELINES.values():
        rival = rule(where)
        assert rival.thresholds != law.thresholds or welfare(rival, where.wages, name) <= proof.welfare * (1 + 1e-9)


@pytest.mark.slow
@given(
    mix=st.sampled_from(sorted(POPULATIONS)),
    num_agents=st.integers(1, 40),
    seed=st.integers(0, 10_000),
    brackets=st.sampled_from(sorted(BRACKETS)),
    economy=st.sampled_from(sorted(ECONOMIES)),
    name=names,
)
@settings(max_examples=15, deadline=None)
def test_nothing_beats_the_oracle_no_planner_and_no_step_of_one_two_or_five_points(
    mix: str, num_agents: int, seed: int, brackets: str, economy: str, name: str
) -> None:
    wages = draw_population(mix, num_agents, np.random.default_rng(seed), demographics=False).wage
    where = Setting(ECONOMIES[economy], BRACKETS[brackets], wages, name)
    law, proof = certified_oracle(where)
    highest = objective(where, law)
    least = 1e-9 * abs(highest)
    assert proof.welfare == pytest.approx(highest)
    for planner, rule in BASELINES.items():
        rival = rule(where)
        assert rival.thresholds != law.thresholds or objective(where, rival) <= highest + least, planner
    around = steps(law.rates, (1, 2, 5), together=2)
    assert welfare_of(where.economy, law.thresholds, around, wages, where.objective).max() <= highest + least


@pytest.mark.slow
def test_for_a_thousand_workers_on_seven_brackets_no_move_improves_what_is_certified() -> None:
    law, proof = certified_oracle(Setting(WEEKLY, US_FED.thresholds, us_wages(1_000)))
    assert gain(law, us_wages(1_000), "inverse_income", (5, 2, 1), together=2) <= 1e-9
    assert proof.improvement <= 0
    assert welfare(law, us_wages(1_000), "inverse_income") == pytest.approx(proof.welfare)


def test_the_best_law_is_looked_for_once_and_again_for_other_people() -> None:
    here = Setting(WEEKLY, BRACKETS["three"], us_wages(30))
    law = BASELINES["ORACLE"](here)
    assert BASELINES["ORACLE"](Setting(WEEKLY, BRACKETS["three"], us_wages(30))) is law
    assert BASELINES["ORACLE"](Setting(WEEKLY, BRACKETS["three"], us_wages(30) * 0.8)) != law
    assert BASELINES["ORACLE"](Setting(WEEKLY, BRACKETS["three"], us_wages(30), "utilitarian")).rates == (0, 0, 0)


def test_last_climbs_with_a_sample_end_at_a_local_optimum_of_all_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    wages = us_wages(1_500)
    whole = optimum(WEEKLY, BRACKETS["three"], wages, WELFARE["inverse_income"])
    monkeypatch.setattr(search, "SAMPLES", {**search.SAMPLES, "last": 100})
    found = optimum(WEEKLY, BRACKETS["three"], wages, WELFARE["inverse_income"], [whole.schedule])
    sampled = optimum(WEEKLY, BRACKETS["three"], wages, WELFARE["inverse_income"])
    assert gain(sampled.schedule, wages, "inverse_income", search.POLISH, together=2) <= search.ROUNDING
    assert sampled.certificate.improvement <= 0
    assert sampled.certificate.welfare == pytest.approx(whole.certificate.welfare, rel=1e-3)
    assert found.certificate.welfare >= whole.certificate.welfare * (1 - search.ROUNDING)
