"""Runs with `--utility crra`: what workers are told, what is stored, what reads it, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.command_line import CommandLine

import llm_economist as le
from evals.cautions.messages import stored as stored_situation
from evals.compare.run_measures import outcomes
from evals.datasets.exact_answers import Asked, answer_of
from evals.metrics.labor import Work, missed
from pipeline.agents.role_modules import terms_of
from pipeline.config import build
from pipeline.economy.equilibrium import equilibrium, settle
from pipeline.economy.income_effects.consumption import worth
from pipeline.economy.tax import tax
from pipeline.economy.utility import income, utility
from pipeline.simulation import observations as see
from pipeline.simulation.loop import labor_inputs
from pipeline.simulation.restore import restore
from pipeline.simulation.world import World, create
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import config_of, find_run
from programs.strategies.self_evaluation import reward
from signatures.terms import Terms
from signatures.texts.objective import Objective, UtilityFormula, Worth
from signatures.worker import ChooseLabor

CRRA = ("--utility", "crra", "--gamma", "1.5")
RUN = (
    "--llm",
    "rules",
    "--num-agents",
    "6",
    "--max-timesteps",
    "4",
    "--two-timescale",
    "2",
    "--bracket-setting",
    "flat",
    *CRRA,
)
DB = "t.duckdb"


def world(**settings: object) -> World:
    return create(build({"num_agents": 5, "llm": "rules", "utility": "crra", "gamma": 1.5, **settings}))


# -- what workers are told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.001, 0.5, 1.0, 1.5, 2.0, 10.0])
@pytest.mark.parametrize("cost", [0.026, None])
@pytest.mark.parametrize("spending", [0.0, 1_000.0])
def test_the_formula_is_read_back(gamma: float, cost: float | None, spending: float) -> None:
    for told in (Worth(gamma, 50_000.0), Worth(told=False)):
        whole = Objective(UtilityFormula(cost, 3.5 if cost else 0.0, 5, spending, 0.0, told))
        assert Objective.parse(str(whole)) == whole
        assert Objective.parse(str(whole).replace("; consumption = income after tax + rebate", "")) is None


def test_a_worker_can_compute_its_utility_from_the_prompt() -> None:
    here = world()
    told = Objective.parse(labor_inputs(here, 2, 0)["objective"])
    assert told is not None
    assert told.utility.worth is not None
    consumption = np.array([-500.0, 0.0, 30_000, 90_000])
    assert told.utility.worth.of(consumption) == pytest.approx(worth(here.economy, consumption))
    assert str(told) == (
        "Maximize your utility = $50,000 * (1 + ((consumption / $50,000)^(-0.5) - 1) / (-0.5)) - 0.026 * hours^3.5, in "
        "dollars a year at a consumption of $50,000; consumption = income after tax + rebate; "
        "rebate = taxes of all workers / 5"
    )


def test_a_layout_without_the_formula_and_a_planner_are_told_of_the_worth_in_words() -> None:
    here = world()
    bare = str(see.objective("egotistical", here.setting(), 5, 2, formula=False))
    assert "the worth of consumption - the burden of the hours" in bare
    assert "50,000" not in bare
    planner = str(see.planner_objective(here.setting(), 5, halved=False))
    assert "$50,000 * (1 + ((consumption / $50,000)^(-0.5) - 1) / (-0.5))" in planner


def test_only_with_income_effects_a_record_says_that_values_include_others_taxes() -> None:
    plain = terms_of(build({"llm": "rules"}))
    assert plain == Terms()
    worded = terms_of(world().config).reworded(ChooseLabor)
    told = worded.input_fields["record"].json_schema_extra["desc"]
    assert told == "your years so far; value is your objective's, with others' taxes as in the last year"


def test_all_remembered_years_are_valued_with_what_the_others_brought_in_the_last() -> None:
    """So that a worker compares its own hours, and not what others did in these years."""
    here = world(history_len=3, percent_ego=60, percent_alt=40)
    own = here.population.utility_type == "egotistical"
    assert 0 < own.sum() < 5
    wage, hours = here.population.wage, np.array([[40.0, 20, 60, 30, 50], [10, 70, 30, 50, 20], [35, 35, 35, 35, 90]])
    for year, labor in enumerate(hours):
        outcome = settle(here.economy, here.schedule, wage, labor)
        here.remember_workers(year, outcome, np.full(5, 77.0 + year))
    others = outcome.rebate - outcome.tax / 5
    z = income(wage, hours)
    expected = utility(here.economy, z - 0.8 * tax(here.schedule, z) + others, hours)
    assert here.memory.value[:, own] == pytest.approx(expected[:, own])
    assert here.memory.value[2, own] == pytest.approx(outcome.utility[own])
    assert (here.memory.value[:, ~own] == [[77], [78], [79]]).all()


def test_an_answer_is_scored_by_the_formula_and_the_last_rebate() -> None:
    here = world()
    year = equilibrium(here.economy, here.schedule, here.population.wage)
    here.remember_workers(0, year, year.utility)
    told = labor_inputs(here, 3, 1)
    scores = [reward(told, {"labor": hours}) for hours in range(101)]
    assert np.argmax(scores) == pytest.approx(year.labor[3], abs=0.6)
    assert max(scores) == 1


@pytest.mark.parametrize("spending", [0.0, 800.0])
def test_exact_answers_are_the_best_whole_hours_in_equilibrium(spending: float) -> None:
    here = world(spending=spending)
    year = equilibrium(here.economy, here.schedule, here.population.wage, windfall=-spending)
    answer, truth = answer_of("ChooseLabor")(here, Asked(3, {}, here.schedule))
    hours = np.arange(101)
    z = income(here.population.wage[3], hours)
    others = year.rebate - year.tax[3] / 5
    values = utility(here.economy, z - tax(here.schedule, z) * 0.8 + others, hours)
    assert answer["labor"] == np.argmax(values)
    score = missed(Work.of(json.loads(json.dumps(truth))), 70)
    assert score.regret == pytest.approx(values.max() - values[70])
    assert score.best_utility == pytest.approx(values.max())
    assert score.best_surplus == pytest.approx(values.max() - values[0])


# -- runs ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def played(cli: CommandLine) -> str:
    result = cli("run", *RUN, "--planner-type", "UNIFORM", "--db", DB)
    assert result.code == 0, result.err
    told = " ".join(result.out.split())
    assert "dollars a year at a consumption of $50,000, where one more is worth one" in told
    assert "SAEZ is left out: its formula has no income effects" in told
    return DB


@pytest.mark.slow
def test_stored_utilities_and_regrets_are_those_of_the_economy(played: str, cli: CommandLine) -> None:
    rows = cli.sql("SELECT * FROM panel WHERE year = 3 ORDER BY agent", played)
    (year,) = cli.sql("SELECT * FROM years WHERE year = 3", played)
    here = world(num_agents=6)
    z, labor, posttax = (np.array([row[name] for row in rows]) for name in ("income", "labor", "posttax"))
    assert [row["utility"] for row in rows] == pytest.approx(list(utility(here.economy, posttax, labor)))
    assert posttax == pytest.approx(z - z / 2 + z.mean() / 2)
    for row in rows:
        tried = np.linspace(0, 100, 2_001)
        own = income(row["wage"], tried)
        rebate = row["rebate"] + (own / 2 - row["tax"]) / 6
        best = float(utility(here.economy, own / 2 + rebate, tried).max())
        assert row["best_utility"] == pytest.approx(best, abs=0.5)
        assert row["regret"] == pytest.approx(best - row["utility"], abs=0.5)
    assert year["welfare_oracle"] >= year["welfare_oracle_grid"] >= year["welfare_best_response"]


@pytest.mark.slow
def test_every_reader_of_a_run_uses_its_utility(played: str, cli: CommandLine) -> None:
    (stored,) = cli.sql("SELECT * FROM yardsticks WHERE year = 3", played)
    with ReadOnlyStore(played) as reader:
        config = config_of(find_run(reader, "1"))
        figures = outcomes(reader, {1: config}, welfare="inverse_income")[1]
        situation = stored_situation(reader, 1, config)
        restored = restore(reader, 1, config, 4)
    assert config.gamma == 1.5
    assert figures["planner_share"] == pytest.approx(stored["planner_share"])
    assert situation.setting.economy == restored.economy == create(config).economy
    assert restored.economy.gamma == 1.5
    assert "every row is the same" in cli("replay", "1", "--db", played).out
    assert cli("eval", "1", "--db", played).code == 0
    assert cli("report", "1", "--db", played, "--output", "r.html").code == 0
    assert "--gamma 1.5" in Path("r.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_fork_and_a_resumed_run_keep_the_utility(played: str, cli: CommandLine) -> None:
    forked = cli("fork", "1", "--at", "2", "--uniform-rate", "20", "--db", played)
    assert forked.code == 0, forked.err
    (row,) = cli.sql("SELECT config FROM runs WHERE run_id = 2", played)
    assert json.loads(row["config"])["gamma"] == 1.5
    refused = cli("fork", "1", "--at", "2", "--planner-type", "SAEZ", "--db", played)
    assert refused.code == 2
    assert "--planner-type SAEZ does not fit --utility crra --gamma 1.5" in refused.err
    other = cli("fork", "1", "--at", "2", "--gamma", "2", "--db", played)
    assert other.code == 2
    assert "--gamma" in other.err


@pytest.mark.slow
def test_gamma_0_plays_the_same_run_as_linear_utility(cli: CommandLine) -> None:
    plain = ("run", "--llm", "rules", "--num-agents", "4", "--max-timesteps", "4", "--two-timescale", "2", "--db", DB)
    assert cli(*plain).code == 0
    assert cli(*plain, "--utility", "crra", "--gamma", "0").code == 0
    for table, numbers in (("years", "run_id, planner_call_id"), ("decisions", "run_id, call_id")):
        first, second = (cli.sql(f"SELECT * EXCLUDE ({numbers}) FROM {table} WHERE run_id = {n}", DB) for n in (1, 2))
        assert str(first) == str(second)
    prompts = [
        [row["prompt"] for row in cli.sql(f"SELECT prompt FROM lm_calls WHERE run_id = {n}", DB)] for n in (1, 2)
    ]
    assert sorted(prompts[0]) == sorted(prompts[1])


@pytest.mark.slow
def test_elections_with_platforms_have_exact_prospects(cli: CommandLine) -> None:
    result = cli("run", *RUN, "--scenario", "democratic", "--platforms", "--spending", "300", "--db", DB)
    assert result.code == 0, result.err
    assert cli("elections", "1", "--db", DB).code == 0


@pytest.mark.slow
def test_python_takes_the_settings(tmp_path: Path) -> None:
    shared = {"num_agents": 4, "utility": "crra", "gamma": 1.5}
    run = le.simulate(llm="rules", max_timesteps=1, planner_type="FREE_MARKET", db=str(tmp_path / "t.duckdb"), **shared)
    (row,) = run.sql("SELECT avg(regret) AS regret FROM decisions").df().to_dict("records")
    assert row["regret"] > 0
    rich, poor = (le.people(50, utility="crra", gamma=g).under([30, 30, 30]).hours.mean() for g in (0, 1))
    assert rich > poor
    with pytest.raises(le.UsageError, match="no income effects"):
        le.people(**shared).law("SAEZ")


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--gamma", "1.5"), "--gamma 1.5 needs --utility crra"),
        (("--utility", "crra"), "--utility crra needs --gamma, e.g. --gamma 1 for the logarithm"),
        (("--utility", "crra", "--gamma", "-1"), "--gamma -1.0: input should be greater than or equal to 0"),
        (("--utility", "crra", "--gamma", "nan"), "--gamma nan: input should be"),
        (("--utility", "crra", "--gamma", "11"), "--gamma 11.0: input should be less than or equal to 10"),
        (("--utility", "crra", "--gamma", "1e-9"), "--gamma 1e-09: expected 0, or from 0.001 to 10"),
        (("--utility", "cobb"), "--utility"),
        ((*CRRA, "--planner-type", "SAEZ"), "--planner-type SAEZ does not fit --utility crra --gamma 1.5"),
        ((*CRRA, "--planner-type", "SAEZ_MEASURED"), "its formula has no income effects; use ORACLE"),
        ((*CRRA, "--participation-cost", "500"), "--participation-cost 500 does not fit --utility crra"),
        ((*CRRA, "--layout", "worker=worked_out"), "use worker=present"),
        ((*CRRA, "--welfare", "atkinson"), "--welfare atkinson does not fit --utility crra --gamma 1.5"),
    ],
)
def test_bad_input_gets_one_line(cli: CommandLine, flags: tuple[str, ...], told: str) -> None:
    result = cli("run", "--llm", "rules", "--num-agents", "3", "--max-timesteps", "1", *flags, "--db", DB)
    assert result.code == 2
    line = " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.err).split())
    assert told in line
    assert "Traceback" not in result.err
    assert not Path(DB).exists()


def test_incidence_refuses_an_economy_with_income_effects(cli: CommandLine) -> None:
    result = cli("incidence", "--law", "us-2024-single", "--num-agents", "20", *CRRA)
    assert result.code == 2
    assert "the formulas of public finance here have no income effects" in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_spending_that_no_one_can_pay_is_refused_after_they_worked_for_it(cli: CommandLine) -> None:
    result = cli("run", *RUN, "--spending", "900000", "--db", DB)
    assert result.code == 2
    assert "these workers cannot pay it" in result.err
