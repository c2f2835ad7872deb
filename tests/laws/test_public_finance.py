"""MVPF, deadweight loss, the Laffer curve, reforms and the inverse optimum: closed forms, finite differences of exact
best responses, and brute force on small economies."""

from __future__ import annotations

import csv
import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.command_line import CommandLine

from pipeline.config import build
from pipeline.economy.baselines import BASELINES, Setting
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.public_finance.inverse_optimum import inverse_optimum
from pipeline.economy.public_finance.margins import Margins, dollars_in_brackets, margins, mvpf
from pipeline.economy.public_finance.reforms import pareto_reforms, points
from pipeline.economy.public_finance.revenue import deadweight_loss, flat_revenue, laffer_peak
from pipeline.economy.tax import BRACKETS, US_FED, tax, uniform
from pipeline.economy.utility import CONTINUUM, Economy, best_response, income
from pipeline.economy.welfare_weights import weight_function
from pipeline.simulation.world import create
from signatures.types import TaxSchedule

ECONOMY = Economy()


def people(count: int, seed: int = 1) -> np.ndarray:
    return create(build({"num_agents": count, "seed": seed})).population.wage


def moved(law: TaxSchedule, bracket: int, points: float) -> TaxSchedule:
    rates = [rate + points * (j == bracket) for j, rate in enumerate(law.rates)]
    return TaxSchedule(thresholds=law.thresholds, rates=tuple(rates))


def before_rebate(law: TaxSchedule, wages: np.ndarray) -> tuple[float, float]:
    """Mean utility before the rebate, and the mean tax, of exact best responses."""
    found = equilibrium(ECONOMY, law, wages)
    return float(found.utility.mean()) - found.rebate, float(found.tax.mean())


# -- MVPF ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_mvpf_is_the_finite_difference_of_exact_best_responses(seed: int) -> None:
    w, step = people(1_000, seed), 0.01
    found = margins(ECONOMY, US_FED, w)
    for j in range(7):
        (low, collected), (high, more) = (before_rebate(moved(US_FED, j, h), w) for h in (-step, step))
        assert found.mvpf[j] == pytest.approx((low - high) / (more - collected), rel=0.01)
        assert found.revenue[j] == pytest.approx((more - collected) / (2 * step), rel=0.01)


def test_mvpf_of_a_flat_tax_has_a_closed_form() -> None:
    """1 / (1 - e t/(1-t)) for many workers, none of them at the most hours."""
    w, t = people(20_000).clip(1, 200), 0.5
    assert margins(ECONOMY, uniform((0,), 50), w).mvpf[0] == pytest.approx(1 / (1 - 0.4 * t / (1 - t)), rel=1e-3)


def test_mvpf_is_infinite_beyond_the_peak_and_unknown_where_no_one_earns() -> None:
    found = margins(ECONOMY, TaxSchedule(thresholds=(0, 1e9), rates=(90, 20)), people(200))
    assert found.mvpf[0] == math.inf
    assert found.weights[0] < 0
    assert math.isnan(found.mvpf[1])
    assert math.isnan(found.weights[1])


def test_bunchers_and_the_capped_pay_without_responding() -> None:
    """Two workers: one at the kink and one who works the most hours."""
    law = TaxSchedule(thresholds=(0, 50_000), rates=(10, 60))
    kinked = next(w for w in np.arange(15, 60, 0.5) if at_kink(law, float(w)))
    v1 = Economy(weeks=1)  # there nearly all work 100 hours
    assert margins(ECONOMY, law, [kinked, kinked]).behavioral.tolist() == [0, 0]
    assert margins(v1, uniform((0,), 20), [20, 40]).behavioral.tolist() == [0]
    assert margins(v1, uniform((0,), 20), [20, 40]).mvpf.tolist() == [1]


def at_kink(law: TaxSchedule, wage: float) -> bool:
    (hours,) = best_response(ECONOMY, law, [wage], 2)
    return bool(abs(income(wage, hours) - law.thresholds[1]) < 1e-6)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
def test_dollars_in_brackets_add_up_and_give_the_tax(incomes: list[float]) -> None:
    inside = dollars_in_brackets(US_FED, incomes)
    assert inside.sum(axis=1) == pytest.approx(incomes)
    assert inside @ np.array(US_FED.rates) / 100 == pytest.approx(tax(US_FED, incomes))


# -- deadweight loss and the Laffer curve ----------------------------------------------------------------------------


def test_deadweight_loss_of_a_flat_tax_has_a_closed_form() -> None:
    """With untaxed income z0: utility before the rebate is z0 (1-t)^(1+e) / (1+e), revenue t z0 (1-t)^e."""
    w, t, e = people(20_000).clip(1, 100), 0.4, 0.4
    untaxed = equilibrium(ECONOMY, uniform((0,), 0), w).income.mean()
    lost = untaxed * (1 / (1 + e) - (1 - t) ** (1 + e) / (1 + e) - t * (1 - t) ** e)
    assert deadweight_loss(ECONOMY, uniform((0,), 40), w) == pytest.approx(lost, rel=1e-3)


@pytest.mark.parametrize("e", [0.2, 0.4, 0.8, 1.5])
def test_the_laffer_peak_is_at_one_over_one_plus_e(e: float) -> None:
    delta = 1 + 1 / e
    economy = Economy(delta=delta, c=40 / (delta * 50 ** (1 / e)))  # at most 50 hours, at 40 dollars an hour
    assert laffer_peak(economy, [10, 20, 40], CONTINUUM).rate == pytest.approx(100 / (1 + e), abs=0.011)
    assert laffer_peak(economy, [10, 20, 40]).rate == pytest.approx(min(100, 150 / (1 + e)), abs=0.011)


def test_the_laffer_peak_at_the_default_elasticity_is_71_point_4() -> None:
    assert laffer_peak(ECONOMY, people(1_000).clip(1, 200), CONTINUUM).rate == pytest.approx(71.43, abs=0.011)


def test_the_laffer_curve_is_the_mean_tax_of_each_flat_rate() -> None:
    w = people(50)
    curve = flat_revenue(ECONOMY, w, range(101))
    one_by_one = [equilibrium(ECONOMY, uniform((0,), rate), w).tax.mean() for rate in range(101)]
    assert curve == pytest.approx(np.array(one_by_one))
    assert laffer_peak(ECONOMY, w).revenue >= curve.max()


# -- reforms ---------------------------------------------------------------------------------------------------------

small_wages = st.lists(st.integers(3, 120), min_size=2, max_size=6).map(lambda w: np.array(w, dtype=float))
small_laws = st.tuples(*[st.integers(-4, 19).map(lambda r: 5.0 * r)] * 3).map(
    lambda rates: TaxSchedule(thresholds=(0, 20_000, 70_000), rates=rates)
)


@given(small_wages, small_laws)
@settings(max_examples=60, deadline=None)
def test_pareto_reforms_are_those_of_brute_force(wages: np.ndarray, law: TaxSchedule) -> None:
    """Every change of one or two rates by a point, with utilities from `equilibrium`, law by law."""
    now = equilibrium(ECONOMY, law, wages).utility
    found = set()
    for change in itertools.product((-1, 0, 1), repeat=3):
        rates = tuple(float(c + r) for c, r in zip(change, law.rates, strict=True))
        if 1 <= np.count_nonzero(change) <= 2 and all(-100 <= rate <= 100 for rate in rates):
            gain = equilibrium(ECONOMY, TaxSchedule(thresholds=law.thresholds, rates=rates), wages).utility - now
            gain[np.abs(gain) <= 1e-9 * np.abs(now)] = 0
            if (gain >= 0).all() and (gain > 0).any():
                found.add(tuple(map(float, change)))
    assert {one.changes for one in pareto_reforms(ECONOMY, law, wages)} == found


def test_beyond_the_peak_a_lower_rate_is_a_pareto_improvement() -> None:
    w = people(300)
    best = pareto_reforms(ECONOMY, uniform((0,), 90), w)[0]
    assert best.changes == (-1,)
    assert best.winners == 300
    assert pareto_reforms(ECONOMY, uniform((0,), 50), w) == []


@given(small_wages, small_laws)
@settings(max_examples=40, deadline=None)
def test_the_effects_of_a_point_add_up(wages: np.ndarray, law: TaxSchedule) -> None:
    now = equilibrium(ECONOMY, law, wages)
    for point in points(ECONOMY, law, wages, windfall=-100):
        after = moved(law, point.bracket, point.change)
        then = equilibrium(ECONOMY, after, wages)
        total = then.tax.mean() - now.tax.mean()
        assert point.mechanical + point.behavioral == pytest.approx(total, abs=1e-6)
        assert point.mechanical == pytest.approx((tax(after, now.income) - now.tax).mean(), abs=1e-6)
        gained = float((then.utility - now.utility).mean())
        assert point.incidence.everybody.utility == pytest.approx(total - point.payment, abs=1e-5)
        assert gained == pytest.approx(total - point.payment, abs=1e-5)


def test_a_rate_of_100_percent_is_judged_by_one_point_less() -> None:
    (point,) = points(ECONOMY, uniform((0,), 100), people(20))
    assert point.change == -1
    assert point.mvpf == math.inf


# -- the inverse optimum ---------------------------------------------------------------------------------------------


def conditions(found: Margins, weights: np.ndarray) -> np.ndarray:
    """What a rise of each rate does to weighted welfare, relative to the dollars taxed."""
    gains = found.revenue - found.payments
    return (weights @ gains / len(weights)) / np.where(found.mechanical > 0, found.mechanical, 1)


@pytest.mark.parametrize("law", [US_FED, uniform((0,), 50), TaxSchedule(thresholds=(0, 30_000), rates=(-20, 40))])
def test_the_law_is_optimal_under_its_weights(law: TaxSchedule) -> None:
    found = margins(ECONOMY, law, people(800))
    weights = inverse_optimum(found)
    assert weights is not None
    assert weights.min() > 0
    assert weights.mean() == pytest.approx(1)
    assert np.abs(conditions(found, weights)).max() < 1e-6
    assert np.abs(conditions(found, np.ones(800))).max() > 0.01  # equal weights would not do


def test_no_weights_exist_where_a_lower_rate_gains_all() -> None:
    assert inverse_optimum(margins(ECONOMY, uniform((0,), 90), people(300))) is None


def test_equal_weights_make_no_tax_optimal() -> None:
    weights = inverse_optimum(margins(ECONOMY, uniform((0,), 0), people(300)))
    assert weights == pytest.approx(np.ones(300))


@pytest.mark.parametrize("brackets", ["flat", "three"])
@pytest.mark.parametrize("welfare", ["inverse_income", "atkinson"])
def test_bracket_weights_recover_the_objective_that_a_saez_law_is_optimal_for(brackets: str, welfare: str) -> None:
    """At the fixed point of the formula, 1/MVPF is the objective's weight of the dollars in each bracket."""
    w = people(1_500)
    here = Setting(ECONOMY, BRACKETS[brackets], w, welfare)
    law = BASELINES["SAEZ"](here)
    now = equilibrium(ECONOMY, law, w)
    g = weight_function(welfare)(now.utility, now.income, 1 / w).g
    inside = dollars_in_brackets(law, now.income)
    assert margins(ECONOMY, law, w).weights == pytest.approx(g @ inside / inside.sum(axis=0), abs=0.01)


def test_mvpf_of_nothing_is_unknown() -> None:
    assert np.isnan(mvpf([0.0], [0.0])).all()


# -- the command -----------------------------------------------------------------------------------------------------

DB = "--db=incidence.duckdb"


def test_the_command_judges_a_law_without_a_run(cli: CommandLine) -> None:
    done = cli("incidence", "--law=us-2024-single", "--num-agents=200", "--seed=1", "--json")
    assert done.code == 0
    told = json.loads(done.out)
    law, w = US_FED, people(200)
    assert told["rates"] == list(law.rates)
    assert [row["mvpf"] for row in told["brackets"]] == pytest.approx(margins(ECONOMY, law, w).mvpf.tolist())
    assert told["deadweight_loss"] == pytest.approx(deadweight_loss(ECONOMY, law, w))
    assert told["laffer"]["closed_form_peak_rate"] == pytest.approx(71.43, abs=0.01)
    assert len(told["laffer"]["curve"]) == 101
    assert told["pareto_reforms"] == []
    assert len(told["weights_by_decile"]) == 10
    assert np.mean(told["weights_by_decile"]) == pytest.approx(1)


def test_the_command_fits_80_columns_and_says_that_there_is_no_pareto_reform(cli: CommandLine) -> None:
    out = cli("incidence", "--law=us-2024-joint-eitc-2-payroll", "--num-agents=100").out
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    assert "Laffer peak of a flat tax:" in out
    assert "one point each): none." in cli("incidence", "--law=us-2024-single", "--num-agents=200").out
    beyond = cli("incidence", "--law=0=90", "--num-agents=50").out
    assert "-1: 50 workers gain, none loses" in beyond
    assert "No positive welfare weights make the law optimal" in beyond


def test_the_command_judges_the_law_and_the_people_of_a_stored_year(cli: CommandLine) -> None:
    run = ("--llm=rules", "--num-agents=12", "--max-timesteps=4", "--two-timescale=2", "--seed=3", DB)
    assert cli("run", *run, "--planner-type=SAEZ").code == 0
    told = json.loads(cli("incidence", "1", "--json", "--csv=by_bracket.csv", DB).out)
    law = BASELINES["SAEZ"](Setting(ECONOMY, BRACKETS["three"], people(12, 3)))
    assert told["rates"] == pytest.approx(list(law.rates))
    assert (told["run_id"], told["year"], told["workers"]) == (1, 3, 12)
    with open("by_bracket.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["mechanical"]) for row in rows] == [row["mechanical"] for row in told["brackets"]]
    other = json.loads(cli("incidence", "1", "--law=us-2024-single", "--year=0", "--json", DB).out)
    assert (other["rates"], other["workers"]) == (list(US_FED.rates), 12)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give a run or a law"),
        (("--law=us-1999-single",), "--law 'us-1999-single'"),
        (("--law=0=20", "--year=3"), "--year 3 is a year of a run"),
        (("1", "--num-agents=9", DB), "--num-agents goes with --law and no run"),
        (("--law=0=20", "--num-agents=0"), "--num-agents"),
        (("--law=0=20", "--spending=1e8"), "these workers cannot pay it"),
    ],
)
def test_bad_input_is_one_line(cli: CommandLine, arguments: tuple[str, ...], said: str) -> None:
    done = cli("incidence", *arguments)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
