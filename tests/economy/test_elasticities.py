"""Workers differ in their elasticity of hours: closed forms, brute force, and runs with `--elasticity-of-labor`."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine
from support.runs.readers_of_a_run import check_readers

from pipeline.config import build
from pipeline.economy.baselines import Setting, objective, oracle, saez
from pipeline.economy.effort import with_own
from pipeline.economy.equilibrium import equilibrium, regret
from pipeline.economy.population import draw_elasticities
from pipeline.economy.saez import saez_rates
from pipeline.economy.tax import BRACKETS, US_FED, tax, uniform
from pipeline.economy.utility import CONTINUUM, Economy, best_response, effective_share, income, respond, utility
from pipeline.economy.welfare_weights import Weights
from pipeline.simulation.fresh_people import fresh_people
from pipeline.simulation.world import create
from signatures.types import TaxSchedule

WAGES = np.array([4.0, 9.0, 15.0, 22.0, 40.0, 75.0, 150.0])
OWN = np.array([0.1, 0.4, 0.9, 0.25, 1.5, 0.05, 0.6])
MIXED = with_own(Economy(), {"elasticity": OWN, "taste": [1, 1.3, 2, 0.5, 1, 1, 0.8]})
RUN = ("--llm", "rules", "--num-agents", "5", "--max-timesteps", "4", "--two-timescale", "2", "--elasticity-of-labor")
rates = st.floats(-60, 95)


def test_hours_respond_by_the_own_elasticity() -> None:
    some = MIXED.of(np.arange(4))
    free, taxed = (best_response(some, uniform((0,), rate), WAGES[:4], CONTINUUM) for rate in (0, 20))
    assert taxed / free == pytest.approx(0.8 ** OWN[:4])


def test_the_marginal_cost_of_the_40th_hour_is_the_usual_one_at_every_elasticity() -> None:
    economy = with_own(Economy(), {"elasticity": OWN})
    usual = Economy()
    wage = usual.c * usual.delta * 40 ** (usual.delta - 1)
    assert best_response(economy, uniform((0,), 0), np.full(7, wage), CONTINUUM) == pytest.approx(40)


def test_an_elasticity_of_04_is_the_usual_economy() -> None:
    same = with_own(Economy(), {"elasticity": np.full(7, 0.4)})
    for law in (US_FED, uniform((0, 9_000), 30)):
        assert best_response(same, law, WAGES, 7) == pytest.approx(best_response(Economy(), law, WAGES, 7))


@given(st.lists(rates, min_size=3, max_size=10), st.sampled_from([1, 7, CONTINUUM]))
def test_best_responses_beat_all_other_hours(of_law: list[float], count: float) -> None:
    law = TaxSchedule(thresholds=tuple(15_000.0 * i for i in range(len(of_law))), rates=tuple(of_law))
    hours, tried = best_response(MIXED, law, WAGES, count), np.linspace(0, 100, 801)[:, None]
    worth, mine = (
        utility(MIXED, income(WAGES, labor) - effective_share(count) * tax(law, income(WAGES, labor)), labor)
        for labor in (tried, hours)
    )
    assert (mine >= worth.max(axis=0) - 1e-6 * np.abs(mine) - 1e-6).all()


@given(st.lists(rates, min_size=9, max_size=9))
def test_laws_with_many_brackets_are_solved_like_those_with_few(of_law: list[float]) -> None:
    edges = tuple(12_000.0 * i for i in range(9))
    one = best_response(MIXED, TaxSchedule(thresholds=edges, rates=tuple(of_law)), WAGES, 7)
    two = respond(MIXED, edges, np.array([of_law, of_law]), WAGES, 7)
    assert respond(MIXED, edges, np.array([of_law]), WAGES, 7).surplus == pytest.approx(two.surplus[:1], rel=1e-9)
    assert one.shape == two.labor[0].shape


def test_playing_the_best_response_has_no_regret() -> None:
    best = equilibrium(MIXED, US_FED, WAGES)
    assert regret(MIXED, US_FED, WAGES, best).regret == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("welfare", ["inverse_income", "atkinson"])
def test_oracle_is_at_least_as_good_as_every_schedule_of_a_grid(welfare: str) -> None:
    setting = Setting(MIXED, BRACKETS["three"], WAGES, welfare, elasticities=())
    laws = [
        TaxSchedule(thresholds=BRACKETS["three"], rates=(a, b, c))
        for a in range(0, 101, 20)
        for b in range(0, 101, 20)
        for c in range(0, 101, 20)
    ]
    top = max(objective(setting, law) for law in laws)
    assert objective(setting, oracle(setting)) >= top - 1e-9 * abs(top)


def test_saez_uses_the_income_weighted_mean_of_those_who_respond() -> None:
    z, own = np.array([20_000.0, 60_000.0, 90_000.0]), np.array([0.2, 0.5, 3.0])
    weights, answers = Weights(np.array([1.6, 0.8, 0.6]), np.zeros(3)), [True, True, False]
    mean = (20_000 * 0.2 + 60_000 * 0.5) / 80_000
    by_mean = saez_rates([0], z, weights, [mean], answers)
    assert saez_rates([0], z, weights, [1.0], answers, own=own) == pytest.approx(by_mean)


@pytest.mark.parametrize("welfare", ["inverse_income", "atkinson"])
def test_saez_with_own_elasticities_is_near_the_optimum(welfare: str) -> None:
    rng = np.random.default_rng(3)
    wages, own = rng.lognormal(3, 0.6, 1_500), draw_elasticities(1_500, 0.5, 0.3, rng)
    setting = Setting(with_own(Economy(), {"elasticity": own}), BRACKETS["flat"], wages, welfare, elasticities=())
    free, best, reached = (objective(setting, law) for law in (uniform((0,), 0), oracle(setting), saez(setting)))
    assert (reached - free) / (best - free) > 0.995


def test_elasticities_have_their_mean_and_standard_deviation() -> None:
    drawn = draw_elasticities(200_000, 0.4, 0.1, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(0.4, abs=0.002)
    assert drawn.std() == pytest.approx(0.1, abs=0.002)
    assert (drawn == drawn.round(2)).all()
    assert (draw_elasticities(9, 0.3, 0.0, np.random.default_rng(0)) == 0.3).all()
    wide = draw_elasticities(10_000, 0.2, 2.0, np.random.default_rng(0))
    assert wide.min() == 0.05
    assert wide.max() == 5


def test_the_draw_depends_on_the_seed_only_and_moves_no_other_draw() -> None:
    plain, spread, again = (
        create(build({"num_agents": 9, "elasticity_of_labor": e})) for e in ("", "0.4,0.1", "0.4,0.1")
    )
    assert plain.population.elasticity is None
    assert spread.population.elasticity is not None
    assert (spread.population.elasticity == again.population.elasticity).all()
    assert (spread.population.wage == plain.population.wage).all()
    fresh = fresh_people(spread)
    assert fresh is not None
    assert np.shape(fresh.setting.economy.response) == fresh.setting.wages.shape


def test_a_calibrated_economy_keeps_its_incomes_at_every_elasticity() -> None:
    here = create(build({"num_agents": 50, "economy": "calibrated", "elasticity_of_labor": "0.5,0.3"}))
    law = create(build({"law": "us-2023-single-deduction"})).schedule
    assert equilibrium(here.economy, law, here.population.wage).labor == pytest.approx(40)


@pytest.fixture
def played(cli: CommandLine) -> str:
    assert cli("run", *RUN, "0.4,0.2", "--db", "t.duckdb").code == 0
    return "t.duckdb"


def test_a_worker_is_told_its_own_power_of_hours(played: str, cli: CommandLine) -> None:
    rows = cli.sql(
        "SELECT c.prompt, a.elasticity FROM lm_calls c JOIN agents a USING (run_id, agent) "
        "WHERE c.signature = 'ChooseLabor'",
        played,
    )
    assert len({row["elasticity"] for row in rows}) > 1
    for row in rows:
        found = re.search(r"rebate - ([\d.e-]+) \* hours\^([\d.]+)", row["prompt"])
        assert found
        own = with_own(Economy(), {"elasticity": [row["elasticity"]]})
        assert float(found[2]) == pytest.approx(1 + 1 / row["elasticity"], rel=1e-5)
        assert float(found[1]) == pytest.approx(float(np.ravel(own.effort)[0]), rel=1e-3)


@pytest.mark.slow
def test_every_reader_of_a_run_uses_the_own_elasticities(played: str, cli: CommandLine) -> None:
    check_readers(played, cli)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("0.01,0.1",), "--elasticity-of-labor 0.01,0.1: expected a mean from 0.05 to 2"),
        (("0.4,0.1,0.2",), "--elasticity-of-labor 0.4,0.1,0.2: expected a mean"),
        (("much",), "--elasticity-of-labor"),
        (("0.4,-1",), "--elasticity-of-labor"),
        (("0.4,0.1", "--elasticity", "0.2"), "--elasticity 0.2 does not fit --elasticity-of-labor 0.4,0.1"),
        (("0.4,0.1", "--archetypes", "2"), "--archetypes 2 does not fit --elasticity-of-labor 0.4,0.1"),
    ],
)
def test_wrong_elasticities_are_refused_in_one_line(flags: tuple[str, ...], told: str, cli: CommandLine) -> None:
    result = cli("run", *RUN, *flags)
    assert result.code == 2
    assert told in result.err
    assert "Traceback" not in result.err
