"""Workers differ in their taste for leisure: closed forms, brute force, and the whole run with `--taste-spread`."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine

from evals.cautions.messages import stored as stored_situation
from evals.compare.run_measures import outcomes
from pipeline.config import build
from pipeline.economy.baselines import Setting, objective, oracle, oracle_grid, saez
from pipeline.economy.equilibrium import equilibrium, regret, settle
from pipeline.economy.population import draw_tastes
from pipeline.economy.tax import BRACKETS, US_FED, tax, uniform
from pipeline.economy.utility import CONTINUUM, ECONOMIES, Economy, best_response, effective_share, income, utility
from pipeline.simulation.fresh_people import FRESH_PEOPLE, fresh_people
from pipeline.simulation.restore import restore
from pipeline.simulation.world import create
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import config_of, find_run
from programs.engines.rules.policies import choose_labor
from signatures.texts.objective import Objective, UtilityFormula
from signatures.texts.worker import Identity

WEEKLY = ECONOMIES["weekly"]
WAGES = np.array([4.0, 9.0, 15.0, 22.0, 40.0, 75.0, 150.0])
TASTES = np.array([1.4, 0.6, 1.0, 2.1, 0.8, 0.5, 1.3])
MIXED = Economy(tastes=TASTES)
BOUNDED = ("--llm", "rules", "--scenario", "bounded", "--num-agents", "4", "--max-timesteps", "4", "--two-timescale")
SPREAD = (*BOUNDED, "2", "--taste-spread", "0.5", "--db", "t.duckdb")


def test_hours_are_proportional_to_taste_to_minus_the_elasticity() -> None:
    law = uniform((0,), 30)
    usual, own = (best_response(economy, law, WAGES[:4], CONTINUUM) for economy in (WEEKLY, MIXED.of(np.arange(4))))
    assert own == pytest.approx(usual * TASTES[:4] ** -0.4)


@given(st.lists(st.integers(0, 100), min_size=7, max_size=7))
def test_best_responses_are_those_of_each_worker_alone(rates: list[float]) -> None:
    law = US_FED.model_copy(update={"rates": tuple(map(float, rates))})
    hours = best_response(MIXED, law, WAGES, len(WAGES))
    for i, taste in enumerate(TASTES):
        alone = Economy(c=WEEKLY.c * taste)
        assert hours[i] == pytest.approx(best_response(alone, law, WAGES[i : i + 1], len(WAGES))[0])
        tried = np.linspace(0, 100, 401)
        earned = income(WAGES[i], tried)
        worth = utility(alone, earned - effective_share(len(WAGES)) * tax(law, earned), tried)
        mine = income(WAGES[i], hours[i])
        best = utility(alone, mine - effective_share(len(WAGES)) * tax(law, mine), hours[i])
        assert best >= worth.max() - 1e-6


def test_playing_the_part_is_no_error() -> None:
    best = equilibrium(MIXED, US_FED, WAGES)
    assert regret(MIXED, US_FED, WAGES, best).regret == pytest.approx(0, abs=1e-6)
    as_most = settle(MIXED, US_FED, WAGES, best_response(WEEKLY, US_FED, WAGES, len(WAGES)))
    assert (regret(MIXED, US_FED, WAGES, as_most).regret[TASTES != 1] > 1).all()


@pytest.mark.parametrize("welfare", ["inverse_income", "utilitarian", "atkinson"])
def test_the_optimum_is_the_optimum_for_these_tastes(welfare: str) -> None:
    setting = Setting(MIXED, BRACKETS["three"], WAGES, welfare)
    grid = [(a, b, c) for a in range(0, 101, 10) for b in range(0, 101, 10) for c in range(0, 101, 10)]
    values = {
        rates: objective(setting, uniform(BRACKETS["three"], 0).model_copy(update={"rates": rates})) for rates in grid
    }
    top = max(values.values())
    assert objective(setting, oracle_grid(setting)) == pytest.approx(top, rel=1e-9)
    assert objective(setting, oracle(setting)) >= top - 1e-9 * abs(top)
    other = Setting(WEEKLY, BRACKETS["three"], WAGES, welfare)
    assert setting != other
    assert hash(setting) != hash(other)


def test_saez_is_near_the_optimum_of_many_workers_with_tastes() -> None:
    rng = np.random.default_rng(1)
    wages, tastes = rng.lognormal(3, 0.6, 3000), draw_tastes(3000, 0.4, rng)
    setting = Setting(Economy(tastes=tastes), BRACKETS["flat"], wages, "inverse_income")
    reached, best = (objective(setting, law) for law in (saez(setting), oracle(setting)))
    start = objective(setting, uniform(BRACKETS["flat"], 0))
    assert (reached - start) / (best - start) > 0.99
    permuted = rng.permutation(3000)
    same = Setting(setting.economy.of(permuted), BRACKETS["flat"], wages[permuted], "inverse_income")
    assert oracle(same).rates == pytest.approx(oracle(setting).rates, abs=1.0)


def test_tastes_have_mean_one_and_their_spread() -> None:
    drawn = draw_tastes(200_000, 0.4, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(1, abs=0.005)
    assert np.log(drawn).std() == pytest.approx(0.4, abs=0.01)
    assert (draw_tastes(9, 0.0, np.random.default_rng(0)) == 1).all()
    assert (drawn == drawn.round(2)).all()
    assert drawn.min() > 0


def test_the_settings_draw_the_same_tastes_every_time_and_no_other_draw_moves() -> None:
    plain, spread, again = (create(build({"num_agents": 9, "taste_spread": s})) for s in (0, 0.3, 0.3))
    assert plain.population.taste is None
    assert spread.population.taste is not None
    assert (spread.population.taste == again.population.taste).all()
    assert (spread.population.wage == plain.population.wage).all()
    fresh = fresh_people(spread)
    assert fresh is not None
    assert fresh.setting.economy.tastes is not None
    assert fresh.setting.economy.tastes.shape == fresh.setting.wages.shape == (FRESH_PEOPLE,)
    assert np.isfinite(fresh.worth(spread.schedule))


@pytest.mark.parametrize(("taste", "words"), [(1.35, "value your free time"), (0.5, "do not mind long weeks")])
def test_a_taste_is_told_in_words_that_read_back(taste: float, words: str) -> None:
    for persona in (None, "You are a nurse. You value your free time."):
        told = str(Identity.of(persona, 20, taste))
        assert f"You {words}: effort costs you {taste:.2f} times what it costs most people. You earn $20.00" in told
        assert Identity.parse(told) == Identity.of(persona, 20, taste)
    assert str(Identity.of("You are a nurse.", 20, 1.0)) == str(Identity.of("You are a nurse.", 20))


@pytest.mark.parametrize(("taste", "hours"), [(None, 40), (1.0, 40), (2.0, 30), (0.5, 55), (0.05, 100)])
def test_the_rules_act_on_the_words(taste: float | None, hours: int) -> None:
    inputs = {
        "objective": str(Objective(UtilityFormula(0.026, 3.5, 5))),
        "identity": str(Identity.of(None, 20, taste)),
        "record": "no years yet",
        "phase": "explore",
    }
    assert choose_labor(inputs, np.random.default_rng(0)) == {"labor": hours}


@pytest.fixture
def played(cli: CommandLine) -> str:
    assert cli("run", *SPREAD).code == 0
    return "t.duckdb"


def test_a_run_judges_each_worker_by_its_own_taste(played: str, cli: CommandLine) -> None:
    rows = cli.sql("SELECT p.*, y.thresholds, y.rates AS law FROM panel p JOIN years y USING (run_id, year)", played)
    assert len({row["taste"] for row in rows}) > 1
    for row in rows:
        own = Economy(c=WEEKLY.c * row["taste"])
        law = uniform(tuple(row["thresholds"]), 0).model_copy(update={"rates": tuple(row["law"])})
        best = best_response(own, law, [row["wage"]], 4)[0]
        assert row["best_labor"] == pytest.approx(best, rel=1e-6)
        assert row["utility"] == pytest.approx(float(utility(own, row["posttax"], row["labor"])), rel=1e-6)
    prompts = cli.sql(
        "SELECT c.prompt, a.taste, c.signature FROM lm_calls c JOIN agents a USING (run_id, agent)", played
    )
    for row in prompts:
        if row["signature"] in ("ChooseLabor", "JudgeTaxPolicy") and row["taste"] != 1:
            assert f"effort costs you {row['taste']:.2f} times what it costs most people" in row["prompt"]
        if row["signature"] == "ChooseLabor":
            cost = re.search(r"rebate - ([\d.]+) \* hours", row["prompt"])
            assert cost
            assert float(cost[1]) == pytest.approx(0.026 * row["taste"], rel=1e-3)


@pytest.mark.slow
def test_a_run_with_tastes_replays_forks_and_exports(played: str, cli: CommandLine) -> None:
    assert "every row is the same" in cli("replay", "1", "--db", played).out
    assert cli("fork", "1", "--at", "2", "--planner-type", "UNIFORM", "--db", played).code == 0
    both = cli.sql("SELECT run_id, list(taste ORDER BY agent) AS t FROM agents GROUP BY run_id", played)
    assert both[0]["t"] == both[1]["t"]
    refused = cli("fork", "1", "--at", "2", "--taste-spread", "0.1", "--db", played)
    assert refused.code == 2
    assert "both branches have the same people" in refused.err
    assert cli("export", "1", "--format", "sft", "--explore", "--to", "sft", "--db", played).code == 0
    best = {
        (row["year"], row["agent"]): row["best_labor"]
        for row in cli.sql("SELECT * FROM decisions WHERE run_id = 1", played)
    }
    with open("sft/train.jsonl") as file:
        rows = [row for row in map(json.loads, file) if row["question"] == "ChooseLabor"]
    for row in rows:
        said = json.loads(row["messages"][-1]["content"])["labor"]
        assert abs(said - best[row["year"], row["agent"]]) <= 1
    assert len(rows) == 16


def test_every_reader_of_a_run_judges_by_its_tastes(played: str, cli: CommandLine) -> None:
    (stored,) = cli.sql("SELECT * FROM yardsticks WHERE year = 3", played)
    with ReadOnlyStore(played) as reader:
        row = find_run(reader, "1")
        figures = outcomes(reader, {1: config_of(row)}, welfare="inverse_income")[1]
        situation = stored_situation(reader, 1, config_of(row))
        world = restore(reader, 1, config_of(row), 4)
    assert figures["welfare_best_response"] == pytest.approx(stored["welfare_best_response"])
    assert figures["planner_share"] == pytest.approx(stored["planner_share"])
    assert situation.setting.economy == world.economy
    assert objective(situation.setting, world.schedule) == pytest.approx(stored["welfare_best_response"])


@pytest.mark.slow
def test_processes_have_the_same_tastes(played: str, cli: CommandLine) -> None:
    query = "SELECT year, agent, labor, regret FROM decisions ORDER BY ALL"
    alone = cli.sql(query, played)
    assert cli("run", *SPREAD, "--processes", "2", "--db", "p.duckdb").code == 0
    assert cli.sql(query, "p.duckdb") == alone


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--taste-spread", "2"), "--taste-spread 2.0: input should be less than or equal to 1"),
        (("--taste-spread", "-0.1"), "--taste-spread -0.1: input should be greater than or equal to 0"),
        (("--taste-spread", "much"), "'much'; expected a number"),
        (("--taste-spread", "0.3", "--archetypes", "2"), "--archetypes 2 does not fit --taste-spread 0.3"),
    ],
)
def test_wrong_spreads_are_refused_in_one_line(flags: tuple[str, ...], told: str, cli: CommandLine) -> None:
    result = cli("run", "--llm", "rules", *flags)
    assert result.code == 2
    assert told in result.err
    assert "Traceback" not in result.err
