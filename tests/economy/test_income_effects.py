"""Income effects (`--utility crra`): closed forms, brute force, the equilibrium and its optimum."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import build
from pipeline.economy.baselines import FORMULAS, Setting, certified_oracle, computable, objective
from pipeline.economy.calibration import data_law
from pipeline.economy.effort import FLOOR, REFERENCE, WEEKS, Economy, with_own
from pipeline.economy.equilibrium import equilibrium, regret, settle, welfare_of
from pipeline.economy.income_effects import shared_rebate
from pipeline.economy.income_effects.consumption import worth, worth_of_a_dollar
from pipeline.economy.oracle import optimum
from pipeline.economy.policy_support import prospects
from pipeline.economy.tax import BRACKETS, US_FED, FloatArray, tax, uniform
from pipeline.economy.utility import CONTINUUM, best_response, income, respond, utility
from pipeline.economy.welfare import inverse_income, rawlsian, utilitarian
from pipeline.simulation.world import create
from signatures.types import TaxSchedule

WAGES = np.array([4.0, 9.0, 15.0, 22.0, 40.0, 75.0, 150.0])
LOG = Economy(gamma=1.0)
FALLING = TaxSchedule(thresholds=BRACKETS["three"], rates=(80, 20, 50))
EITC = TaxSchedule(thresholds=(0, 8_000, 20_000, 40_000), rates=(-40, 0, 55, 30))

gammas = st.floats(0.01, 3)


@st.composite
def laws(draw: st.DrawFn, lowest: float = -60) -> TaxSchedule:
    """Any piecewise linear tax: rates may rise, fall and be negative."""
    inner = draw(st.lists(st.integers(1, 150), max_size=4, unique=True))
    edges = (0.0, *(1_000.0 * edge for edge in sorted(inner)))
    return TaxSchedule(thresholds=edges, rates=tuple(draw(st.floats(lowest, 100)) for _ in edges))


# -- the utility of consumption -----------------------------------------------------------------------------------


@given(gammas)
def test_a_dollar_at_the_reference_is_worth_one_unit(gamma: float) -> None:
    economy = Economy(gamma=gamma)
    assert float(worth(economy, REFERENCE)) == pytest.approx(REFERENCE)
    assert float(worth_of_a_dollar(economy, REFERENCE)) == pytest.approx(1)
    c = np.array([20.0, 3_000, 60_000, 1e6])
    slope = (worth(economy, c * 1.0001) - worth(economy, c / 1.0001)) / (c * 1.0001 - c / 1.0001)
    assert slope == pytest.approx(worth_of_a_dollar(economy, c), rel=1e-4)


def test_a_gamma_near_one_is_nearly_the_logarithm() -> None:
    c = np.array([10.0, 1_000, 50_000, 1e6])
    assert worth(LOG, c) == pytest.approx(REFERENCE * (1 + np.log(c / REFERENCE)))
    assert worth(Economy(gamma=1 + 1e-9), c) == pytest.approx(worth(LOG, c))


@pytest.mark.parametrize("gamma", [0.001, 0.5, 1.0, 2.0, 10.0])
def test_utility_stays_finite_and_rises_below_a_dollar(gamma: float) -> None:
    economy = Economy(gamma=gamma)
    values = worth(economy, [-20_000, -1, 0, 0.5, 1, 1.5, 10])
    assert np.isfinite(values).all()
    assert (np.diff(values) > 0).all()
    steps = np.diff(worth(economy, [0.0, 0.5, 1.0, 1.5]))
    assert steps[0] == pytest.approx(steps[1], rel=1e-3)
    assert steps[2] < steps[1]
    hours = best_response(economy, uniform((0,), 100), WAGES, CONTINUUM, np.linspace(-50_000, 0, 7))
    assert (hours == 0).all()
    poor = best_response(economy, uniform((0,), 0), WAGES, CONTINUUM, np.full(7, -1e6))
    assert (poor > 0).all()
    assert np.isfinite(utility(economy, income(WAGES, poor) - 1e6, poor)).all()


def test_without_gamma_everything_is_as_before() -> None:
    same = Economy(gamma=0.0)
    assert same == Economy()
    assert (utility(same, WAGES * 900, 40) == utility(Economy(), WAGES * 900, 40)).all()
    plain, zero = (
        create(build({"num_agents": 9, "llm": "rules", **more})) for more in ({}, {"utility": "crra", "gamma": 0})
    )
    assert plain.economy == zero.economy
    assert plain.setting() == zero.setting()


# -- best hours ----------------------------------------------------------------------------------------------------


@given(st.floats(-50, 95))
def test_with_the_logarithm_and_no_rebate_hours_depend_neither_on_the_wage_nor_on_a_linear_tax(rate: float) -> None:
    """c = (1 - t)*w*52*l, so that income and substitution effects cancel: power * cost * l**power = c0."""
    closed = (REFERENCE / (LOG.effort * LOG.power)) ** (1 / LOG.power)
    assert best_response(LOG, uniform((0,), rate), WAGES, CONTINUUM, 0.0) == pytest.approx(closed, rel=1e-12)


@given(gammas, st.floats(-50, 95))
def test_without_a_rebate_hours_have_a_closed_form(gamma: float, rate: float) -> None:
    economy = with_own(Economy(gamma=gamma), {"elasticity": [0.1, 0.4, 0.9, 0.25, 1.5, 0.5, 0.6]})
    pay = (1 - rate / 100) * WEEKS * WAGES
    closed = (REFERENCE**gamma * pay ** (1 - gamma) / (economy.effort * economy.power)) ** (
        1 / (economy.power - 1 + gamma)
    )
    hours = best_response(economy, uniform((0,), rate), WAGES, CONTINUUM, 0.0)
    assert hours == pytest.approx(np.minimum(closed, 100), rel=1e-10)


def test_a_tiny_gamma_gives_the_hours_without_income_effects() -> None:
    for law in (US_FED, FALLING, EITC):
        linear = best_response(Economy(), law, WAGES, 7)
        assert best_response(Economy(gamma=1e-3), law, WAGES, 7, 9_000.0) == pytest.approx(linear, rel=3e-3)


@settings(max_examples=60)
@given(laws(), gammas, st.integers(1, 9), st.floats(-5_000, 60_000), st.booleans())
def test_best_hours_beat_all_other_hours(law: TaxSchedule, gamma: float, count: int, lump: float, own: bool) -> None:
    columns = {"elasticity": [0.1, 0.4, 0.9, 0.25, 1.5, 0.5, 0.6], "taste": [1, 1.3, 2, 0.5, 1, 1, 0.8]}
    economy = with_own(Economy(gamma=gamma), columns if own else {})
    others = lump + 100 * np.arange(7)
    hours = best_response(economy, law, WAGES, count, others)

    def worth_at(labor: FloatArray) -> FloatArray:
        z = income(WAGES, labor)
        return utility(economy, z - tax(law, z) * (1 - 1 / count) + others, labor)

    mine = worth_at(hours)
    assert (mine >= worth_at(np.linspace(0, 100, 4_001)[:, None]).max(axis=0) - 1e-9 * (1 + np.abs(mine))).all()


@settings(max_examples=60)
@given(laws(), gammas, st.integers(1, 9))
def test_leisure_is_a_normal_good(law: TaxSchedule, gamma: float, count: int) -> None:
    others = np.linspace(-2_000, 80_000, 60)
    for wage in WAGES:
        hours = best_response(Economy(gamma=gamma), law, np.full(60, wage), count, others)
        assert (np.diff(hours) <= 1e-9).all()


def test_best_hours_without_the_rebate_are_refused() -> None:
    for asked in (
        lambda: best_response(LOG, US_FED, WAGES, 7),
        lambda: respond(LOG, (0,), [[10]], WAGES, 7),
    ):
        with pytest.raises(ValueError, match="best hours depend on the rebate"):
            asked()


# -- the equilibrium -----------------------------------------------------------------------------------------------


@given(laws(), gammas)
def test_a_single_worker_works_as_without_a_tax(law: TaxSchedule, gamma: float) -> None:
    """Its whole tax comes back to it."""
    economy = Economy(gamma=gamma)
    free = equilibrium(economy, uniform((0,), 0), [20.0]).labor
    assert equilibrium(economy, law, [20.0]).labor == pytest.approx(free, rel=1e-9)


@settings(max_examples=60)
@given(laws(), gammas, st.lists(st.floats(2, 200), min_size=1, max_size=12), st.floats(-3_000, 9_000))
def test_in_equilibrium_no_one_can_gain(law: TaxSchedule, gamma: float, wages: list[float], windfall: float) -> None:
    economy = Economy(gamma=gamma)
    year = equilibrium(economy, law, wages, windfall=windfall)
    assert year.rebate == pytest.approx(year.tax.mean() + windfall)
    assert regret(economy, law, wages, year).regret == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("law", [uniform((0,), 40), US_FED, FALLING, EITC])
@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.5])
def test_the_equilibrium_is_where_replies_on_a_grid_lead(law: TaxSchedule, gamma: float) -> None:
    """Three workers who reply in turn, each by trying 20,001 numbers of hours."""
    economy, wages, grid = Economy(gamma=gamma), np.array([6.0, 18.0, 55.0]), np.linspace(0, 100, 20_001)
    hours = np.full(3, 40.0)
    for _ in range(60):
        before = hours.copy()
        for i in range(3):
            paid = tax(law, income(wages, hours))
            z = income(wages[i], grid)
            rebate = (paid.sum() - paid[i] + tax(law, z)) / 3
            hours[i] = grid[np.argmax(utility(economy, z - tax(law, z) + rebate, grid))]
        if (hours == before).all():
            break
    assert equilibrium(economy, law, wages).labor == pytest.approx(hours, abs=0.02)


def test_replies_in_turn_lead_where_newton_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    newton = [equilibrium(LOG, law, WAGES).labor for law in (US_FED, FALLING, EITC)]
    monkeypatch.setattr(shared_rebate, "STEPS", 1)
    in_turn = [equilibrium(LOG, law, WAGES).labor for law in (US_FED, FALLING, EITC)]
    assert np.array(in_turn) == pytest.approx(np.array(newton), rel=1e-8)


def test_many_laws_are_solved_as_each_by_itself() -> None:
    rates = np.random.default_rng(3).integers(0, 11, (40, 3)) * 10.0
    together = welfare_of(LOG, BRACKETS["three"], rates, WAGES, utilitarian, windfall=-500.0)
    alone = [
        float(np.mean(equilibrium(LOG, law, WAGES, windfall=-500.0).utility))
        for law in (TaxSchedule(thresholds=BRACKETS["three"], rates=tuple(row)) for row in rates)
    ]
    assert together == pytest.approx(alone, rel=1e-11)


def test_a_higher_windfall_lowers_all_hours() -> None:
    hours = [equilibrium(LOG, US_FED, WAGES, windfall=w).labor for w in (-2_000.0, 0.0, 5_000.0)]
    assert (hours[0] > hours[1]).all()
    assert (hours[1] > hours[2]).all()


def test_regret_is_what_the_best_hours_on_a_grid_would_have_brought() -> None:
    played = np.array([40.0, 10, 60, 35, 20, 45, 80])
    year = settle(LOG, FALLING, WAGES, played)
    tried = np.linspace(0, 100, 10_001)[:, None]
    z = income(WAGES, tried)
    rebate = year.rebate + (tax(FALLING, z) - year.tax) / 7
    best = utility(LOG, z - tax(FALLING, z) + rebate, tried).max(axis=0)
    missed = regret(LOG, FALLING, WAGES, year)
    assert missed.regret == pytest.approx(best - year.utility, abs=1)  # the grid misses the kinks
    assert (missed.regret >= best - year.utility - 1e-7).all()


def test_the_envelope_theorem_holds_for_a_small_rise_of_the_rate() -> None:
    """Own hours are optimal, so utility changes by the worth of the own tax and of what the others' taxes bring."""
    low, mid, high = (equilibrium(LOG, uniform((0,), 30 + h), WAGES) for h in (-0.001, 0, 0.001))
    step, n = 0.002 / 100, len(WAGES)
    others = ((high.rebate - high.tax / n) - (low.rebate - low.tax / n)) / step
    expected = worth_of_a_dollar(LOG, mid.posttax) * (others - mid.income * (1 - 1 / n))
    assert (high.utility - low.utility) / step == pytest.approx(expected, rel=1e-5)


def test_the_same_economy_in_other_dollars_has_the_same_hours() -> None:
    """Prices three times as high: wages, thresholds, the cost of effort and the reference are, too."""
    dearer = replace(LOG, c=LOG.c * 3, reference=LOG.reference * 3)
    law = TaxSchedule(thresholds=tuple(3 * edge for edge in US_FED.thresholds), rates=US_FED.rates)
    now, then = equilibrium(LOG, US_FED, WAGES), equilibrium(dearer, law, 3 * WAGES)
    assert then.labor == pytest.approx(now.labor)
    assert then.utility == pytest.approx(3 * now.utility)
    assert FLOOR * LOG.reference == pytest.approx(1)


@pytest.mark.parametrize("mix", ["us_income", "acs"])
@pytest.mark.parametrize("num_agents", [1, 30])
def test_a_calibrated_economy_reproduces_its_incomes(mix: str, num_agents: int) -> None:
    chosen = {"num_agents": num_agents, "agent_mix": mix, "economy": "calibrated", "utility": "crra", "gamma": 1.3}
    here = create(build({**chosen, "llm": "rules"}))
    year = equilibrium(here.economy, data_law(mix, None), here.population.wage)
    assert year.labor == pytest.approx(40, rel=1e-8)


# -- laws ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [utilitarian, inverse_income, rawlsian])
def test_oracle_is_the_best_law_on_the_ten_point_grid_and_better_off_it(function: object) -> None:
    edges, wages = (0.0, 40_000.0), np.array([5.0, 14.0, 30.0, 80.0])
    best = optimum(LOG, edges, wages, function)  # type: ignore[arg-type]
    values = {}
    for rates in itertools.product(range(0, 101, 10), repeat=2):
        year = equilibrium(LOG, TaxSchedule(thresholds=edges, rates=rates), wages)
        values[rates] = float(function(year.utility, year.income, wages))  # type: ignore[operator]
    assert best.certificate.grid_welfare == pytest.approx(max(values.values()), rel=1e-9)
    assert best.certificate.welfare >= max(values.values()) - 1e-6
    assert best.certificate.improvement <= 0


def test_oracle_knows_of_public_spending() -> None:
    """With income effects the poll tax changes hours, so that it cannot be added to utilities afterwards."""
    setting = Setting(LOG, (0.0,), WAGES, "utilitarian", windfall=-3_000.0)
    best = certified_oracle(setting)
    assert best.certificate.welfare == pytest.approx(objective(setting, best.schedule), rel=1e-10)
    for rate in (0, 30, 60, 90):
        assert objective(setting, uniform((0,), rate)) <= best.certificate.welfare + 1e-6


def test_the_formulas_without_income_effects_are_not_among_the_benchmarks() -> None:
    setting = Setting(LOG, (0.0,), WAGES)
    assert not set(computable(setting, {name: lambda s: US_FED for name in FORMULAS})) & set(FORMULAS)


def test_voters_prospects_are_their_utilities_in_equilibrium() -> None:
    rates = [[10.0, 20, 30], [80, 20, 50]]
    found = prospects(LOG, BRACKETS["three"], rates, WAGES, 700.0)
    for column, row in zip(found.T, rates, strict=True):
        law = TaxSchedule(thresholds=BRACKETS["three"], rates=tuple(row))
        assert column == pytest.approx(equilibrium(LOG, law, WAGES, windfall=700.0).utility)


def test_curvature_raises_the_best_flat_tax_of_a_utilitarian() -> None:
    """Without it a utilitarian taxes nothing: utility is a dollar for everybody."""
    rates = [optimum(Economy(gamma=g), (0.0,), WAGES, utilitarian).schedule.rates[0] for g in (0.0, 0.5, 1.0)]
    assert rates[0] == pytest.approx(0, abs=1)
    assert rates[0] < rates[1] < rates[2]
    assert not math.isnan(rates[2])
