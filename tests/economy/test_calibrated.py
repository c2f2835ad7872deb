"""`--economy calibrated`: under the law of the data's year the economy reproduces the incomes it was drawn from."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine
from support.runs.readers_of_a_run import check_readers

import llm_economist as le
from pipeline.config import build
from pipeline.economy.baselines import Setting, objective, oracle, saez
from pipeline.economy.calibration import calibrated_tastes, data_law, data_law_name
from pipeline.economy.equilibrium import equilibrium, regret
from pipeline.economy.laws.named_laws import named_law
from pipeline.economy.tax import BRACKETS, tax, uniform
from pipeline.economy.utility import CONTINUUM, ECONOMIES, Economy, best_response, evenly_spaced, income, utility
from pipeline.economy.wages import FULL_TIME_HOURS
from pipeline.economy.welfare import gini
from pipeline.simulation.fresh_people import fresh_people
from pipeline.simulation.world import World, create
from signatures.types import TaxSchedule

CALIBRATED = ECONOMIES["calibrated"]
LAW = named_law("us-2023-single-deduction")[0]
FALLING = TaxSchedule(thresholds=BRACKETS["three"], rates=(70, 20, 50))
RUN = ("--llm", "rules", "--num-agents", "6", "--max-timesteps", "4", "--two-timescale", "2", "--economy", "calibrated")


def world(num_agents: int, **settings: object) -> World:
    return create(build({"num_agents": num_agents, "economy": "calibrated", "llm": "rules", **settings}))


@pytest.mark.slow
def test_the_large_population_has_the_inequality_of_the_data() -> None:
    """Gini 0.53, share of the top 1 % 10.5 %, and a Pareto tail of 2.2, by the Hill estimate from the top 5 %.

    Farther up the estimate approaches the index of the GB2 distribution, sigma * tau = 2.36.
    """
    here = world(400_000)
    year = equilibrium(here.economy, LAW, here.population.wage)
    assert year.income == pytest.approx(here.population.income_at_40_hours, rel=1e-9)
    ordered = np.sort(year.income)
    top, high = ordered[-4_000:], ordered[-20_000:]
    assert 1 / np.log(high / high[0]).mean() == pytest.approx(2.2, abs=0.06)
    assert gini(year.income) == pytest.approx(0.53, abs=0.005)
    assert top.sum() / ordered.sum() == pytest.approx(0.105, abs=0.004)
    usual = equilibrium(ECONOMIES["weekly"], LAW, here.population.wage)
    assert gini(usual.income) > 0.6  # without the calibration incomes are far too unequal


@pytest.mark.parametrize(
    ("settings", "law"),
    [
        ({}, "us-2023-single-deduction"),
        ({"agent_mix": "acs"}, "us-2018-single-deduction"),
        ({"scenario": "bounded"}, "us-2018-single-deduction"),
        ({"agent_mix": "uniform"}, "us-2023-single-deduction"),
        ({"agent_mix": "acs", "dollars_of": 2024}, "us-2018-single-deduction"),
        ({"min_wage": 7.25}, "us-2023-single-deduction"),
    ],
)
@pytest.mark.parametrize("num_agents", [1, 7, 500])
def test_every_worker_earns_what_was_drawn_under_the_law_of_the_year(
    settings: dict[str, object], law: str, num_agents: int
) -> None:
    here = world(num_agents, **settings)
    mix = here.config.agent_mix or here.scenario.agent_mix
    assert data_law_name(mix) == law
    year = equilibrium(here.economy, data_law(mix, here.config.dollars_of), here.population.wage)
    assert year.labor == pytest.approx(40, rel=1e-9)
    assert year.income == pytest.approx(here.population.wage * FULL_TIME_HOURS, rel=1e-9)


def test_the_law_of_the_year_is_in_the_dollars_of_the_run() -> None:
    growth = data_law("acs", 2024).thresholds[1] / data_law("acs", None).thresholds[1]
    wages = [world(9, agent_mix="acs", dollars_of=year).population.wage for year in (None, 2024)]
    assert wages[1] / wages[0] == pytest.approx(growth)
    tastes = [world(9, agent_mix="acs", dollars_of=year).economy.effort for year in (None, 2024)]
    assert tastes[1] / tastes[0] == pytest.approx(growth)


@given(
    st.lists(st.floats(0.01, 3_000), min_size=1, max_size=5),
    st.lists(st.floats(0, 90), min_size=3, max_size=3).map(sorted),
    st.sampled_from([1, 2, 50, CONTINUUM]),
)
def test_inversion_is_the_inverse_of_the_best_response(wages: list[float], rates: list[float], count: float) -> None:
    law = TaxSchedule(thresholds=(0, 20_000, 90_000), rates=tuple(rates))
    economy = replace(CALIBRATED, tastes=calibrated_tastes(CALIBRATED, law, wages, count))
    assert best_response(economy, law, wages, count) == pytest.approx(40, rel=1e-9)


def test_an_income_on_the_edge_of_two_brackets_is_reproduced() -> None:
    law = TaxSchedule(thresholds=(0, 52_000), rates=(10, 40))
    economy = replace(CALIBRATED, tastes=calibrated_tastes(CALIBRATED, law, [25.0], CONTINUUM))
    assert best_response(economy, law, [25.0], CONTINUUM) == pytest.approx(40)


@pytest.mark.parametrize("rates", [(30, 10), (10, 100)])
def test_laws_that_explain_no_income_are_refused(rates: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="rates rise and are below 100"):
        calibrated_tastes(CALIBRATED, TaxSchedule(thresholds=(0, 9_000), rates=rates), [1.0], 3)


def test_best_responses_beat_all_other_hours_under_other_laws() -> None:
    here = world(40)
    wages, tried = here.population.wage, np.linspace(0, 100, 401)
    for law in (uniform((0,), 60), named_law("us-2026-single-eitc-2")[0], FALLING):
        year = equilibrium(here.economy, law, wages)
        assert regret(here.economy, law, wages, year).regret == pytest.approx(0, abs=1e-6)
        for i in range(40):
            alone, wage = Economy(tastes=here.economy.of(np.array([i])).tastes), wages[i]
            paid = [
                income(wage, hours) - (1 - 1 / 40) * tax(law, income(wage, hours)) for hours in (tried, year.labor[i])
            ]
            worth, mine = (
                utility(alone, money, hours) for money, hours in zip(paid, (tried, year.labor[i]), strict=True)
            )
            assert mine >= worth.max() - 1e-6


@pytest.mark.parametrize("welfare", ["inverse_income", "atkinson"])
def test_oracle_is_best_and_saez_is_near_it(welfare: str) -> None:
    here = world(3_000, welfare=welfare)
    setting = replace(here.setting(), thresholds=BRACKETS["flat"])
    values = [objective(setting, uniform((0,), rate)) for rate in range(101)]
    best = objective(setting, oracle(setting))
    assert best >= max(values) - 1e-9 * abs(best)
    assert (objective(setting, saez(setting)) - values[0]) / (best - values[0]) > 0.99


@pytest.mark.slow
@pytest.mark.parametrize(("welfare", "rate"), [("inverse_income", 68), ("atkinson", 45)])
def test_the_best_flat_tax_agrees_with_an_independent_solution(welfare: str, rate: float) -> None:
    """68 % (inverse_income) and 45 % (log), solved independently with costs proportional to wages."""
    here = world(20_000)
    tastes = here.population.wage / 17.7
    setting = Setting(replace(here.economy, tastes=tastes), BRACKETS["flat"], here.population.wage, welfare)
    assert oracle(setting).rates[0] == pytest.approx(rate, abs=3)


def test_saez_of_a_large_population_takes_workers_one_by_one() -> None:
    here = world(30_000)
    some = evenly_spaced(here.population.wage, 20_000)
    few = replace(here.setting(), economy=here.economy.of(some), wages=here.population.wage[some])
    assert saez(here.setting()).rates == pytest.approx(saez(few).rates, abs=0.05)


def test_fresh_people_are_calibrated_too() -> None:
    fresh = fresh_people(world(5))
    assert fresh is not None
    year = equilibrium(fresh.setting.economy, LAW, fresh.setting.wages)
    assert year.labor == pytest.approx(40)


def test_people_with_own_wages_are_calibrated_to_them() -> None:
    some = le.people(wages=[5, 20, 80], economy="calibrated")
    assert best_response(some.setting.economy, LAW, some.setting.wages, 3) == pytest.approx(40)


@pytest.fixture
def played(cli: CommandLine) -> str:
    assert cli("run", *RUN, "--percent-ego", "50", "--percent-alt", "50", "--db", "t.duckdb").code == 0
    return "t.duckdb"


def test_a_worker_is_told_its_own_cost_of_effort_and_no_usual_one(played: str, cli: CommandLine) -> None:
    rows = cli.sql(
        "SELECT c.prompt, c.signature, a.taste, a.utility_type "
        "FROM lm_calls c LEFT JOIN agents a USING (run_id, agent)",
        played,
    )
    assert {row["signature"] for row in rows} == {"ChooseLabor", "SetTaxRates"}
    for row in rows:
        assert "what it costs most people" not in row["prompt"]
        found = re.search(r"rebate - ([\d.e-]+) \* hours\^3.5", row["prompt"])
        if row["utility_type"] == "egotistical":
            assert found
            assert float(found[1]) == pytest.approx(0.026 * row["taste"], rel=1e-3)
        else:
            assert found is None
            assert "rebate - the burden of the hours" in row["prompt"]


@pytest.mark.slow
def test_every_reader_of_a_run_uses_the_calibrated_costs(played: str, cli: CommandLine) -> None:
    check_readers(played, cli)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--taste-spread", "0.3"), "--taste-spread 0.3 does not fit --economy calibrated"),
        (("--archetypes", "2"), "--archetypes 2 does not fit --economy calibrated"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_line(flags: tuple[str, ...], told: str, cli: CommandLine) -> None:
    result = cli("run", *RUN, *flags)
    assert result.code == 2
    assert told in result.err
    assert "Traceback" not in result.err


def test_a_question_without_a_population_has_no_calibrated_cost() -> None:
    with pytest.raises(le.UsageError, match="economy='calibrated': expected one of weekly, v1"):
        le.state("worker", rates=(50, 50, 50), wage=20, economy="calibrated")
