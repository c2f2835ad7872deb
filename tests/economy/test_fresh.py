"""Fresh people: laws are judged among others from the same population, always the same others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.command_line import CommandLine

from pipeline.config import build
from pipeline.economy.baselines import BASELINES, start_and_oracle
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.tax import uniform
from pipeline.economy.welfare import WELFARE
from pipeline.simulation.fresh_people import FRESH_PEOPLE, FreshPeople, fresh_people
from pipeline.simulation.world import World, create


def world(**settings: Any) -> World:
    return create(build({"num_agents": 8, **settings}))


def fresh(**settings: Any) -> FreshPeople:
    found = fresh_people(world(**settings))
    assert found is not None
    return found


def test_they_are_two_thousand_others_and_the_same_ones_again() -> None:
    here = world()
    wages = fresh().setting.wages
    assert len(wages) == FRESH_PEOPLE == 2_000
    assert not np.isin(here.population.wage, wages).any()
    assert (fresh().setting.wages == wages).all()
    assert not np.isin(fresh(seed=1).setting.wages, wages).any()


def test_they_depend_on_the_population_and_the_seed_alone() -> None:
    wages = fresh().setting.wages
    for settings in (
        {"welfare": "rawlsian"},
        {"planner_type": "SAEZ"},
        {"num_agents": 30},
        {"bracket_setting": "flat"},
    ):
        assert (fresh(**settings).setting.wages == wages).all()
    assert (fresh(scenario="bounded").setting.wages == fresh(agent_mix="acs").setting.wages).all()
    assert not np.isin(fresh(agent_mix="acs").setting.wages, wages).any()


def test_they_are_drawn_with_the_settings_of_the_population() -> None:
    plain = fresh().setting.wages
    assert (fresh(min_wage=7.25).setting.wages == np.maximum(plain, 7.25)).all()
    raised = fresh(dollars_of=2024).setting
    assert np.ptp(raised.wages / plain) < 1e-9
    assert raised.wages[0] > plain[0]
    assert raised.thresholds == world(dollars_of=2024).setting().thresholds
    # the mean of the population: 2,000 draws of a heavy tail come within a tenth of it
    many = create(build({"num_agents": 50_000, "seed": 7})).population.wage
    assert np.log(plain).mean() == pytest.approx(np.log(many).mean(), abs=0.1)


@pytest.mark.parametrize("name", [name for name in WELFARE if name != "paper"])
def test_a_law_is_worth_what_it_brings_them_when_they_best_respond(name: str) -> None:
    where = fresh(welfare=name)
    law = uniform(where.setting.thresholds, 30)
    year = equilibrium(where.setting.economy, law, where.setting.wages)
    expected = WELFARE[name](year.utility, year.income, where.setting.wages)
    assert where.worth(law) == pytest.approx(expected)
    assert fresh().worth(law, name) == where.worth(law)


def test_a_sum_over_people_is_stated_for_as_many_as_the_run_has() -> None:
    few, many = fresh(welfare="paper", num_agents=5), fresh(welfare="paper", num_agents=500)
    law = uniform(few.setting.thresholds, 30)
    year = equilibrium(few.setting.economy, law, few.setting.wages)
    assert few.worth(law) == pytest.approx(5 * np.mean(year.utility / np.maximum(year.income, 1)))
    assert many.worth(law) == pytest.approx(100 * few.worth(law))


@pytest.mark.slow
def test_the_optimum_of_five_people_is_worse_for_others_than_the_start_and_that_of_three_hundred_better() -> None:
    """The optimum of few fits their wages: in the mean it is worth less to others than 50 percent everywhere."""

    def gain(num_agents: int, seed: int) -> float:
        here = world(num_agents=num_agents, seed=seed)
        others = fresh_people(here)
        assert others is not None
        start, _, best = start_and_oracle(here.setting())
        return others.worth(best) - others.worth(start)

    assert np.mean([gain(5, seed) for seed in range(1, 13)]) < 0
    assert min(gain(300, seed) for seed in (1, 2)) > 0


def test_on_fresh_people_no_law_of_the_run_beats_their_own_optimum() -> None:
    here = world(num_agents=20, bracket_setting="flat")
    others = fresh_people(here)
    assert others is not None
    best = others.worth(BASELINES["ORACLE"](others.setting))
    for name in ("ORACLE", "ORACLE_GRID", "SAEZ", "UNIFORM", "FREE_MARKET"):
        assert others.worth(BASELINES[name](here.setting())) <= best * (1 + 1e-9)


# -- shocks --------------------------------------------------------------------------------------------------------


def test_shocks_hit_fresh_people_as_they_hit_the_run_s() -> None:
    plain = fresh().setting.wages
    here = world(shock=("year=3: wages*0.5 where wage > 20", "years=4-5: wages+1", "year=4: rebate+700"))
    assert (fresh_people(here, 0).setting.wages == plain).all()  # type: ignore[union-attr]
    halved = np.where(plain > 20, plain * 0.5, plain)
    assert (fresh_people(here, 3).setting.wages == halved).all()  # type: ignore[union-attr]
    later = fresh_people(here, 4)
    assert later is not None
    assert (later.setting.wages == halved + 1).all()
    assert later.setting.windfall == 700
    assert (fresh_people(here, 6).setting.wages == halved).all()  # type: ignore[union-attr]
    here.begin(4)
    assert (fresh_people(here).setting.wages == later.setting.wages).all()  # type: ignore[union-attr]


def test_a_shock_that_names_workers_by_number_has_no_fresh_people() -> None:
    here = world(shock=("year=2: wages*0.5 where agent < 3",))
    assert fresh_people(here, 1) is not None
    assert fresh_people(here, 2) is None
    quoted = world(scenario="bounded", shock=("year=2: wages*0.5 where occupation like '% agent %'",))
    assert fresh_people(quoted, 2) is not None


# -- at the end of a run -------------------------------------------------------------------------------------------


def test_a_run_ends_with_its_laws_among_fresh_people_in_eighty_columns(cli: CommandLine) -> None:
    run = ("run", "--llm", "rules", "--num-agents", "8", "--max-timesteps", "2")
    out = cli(*run).out.splitlines()
    first = next(i for i, line in enumerate(out) if line.startswith("The objective, inverse_income"))
    rows = {line.split()[0]: line.split() for line in out[first + 5 : first + 13] if line.strip()}
    here, others = world(), fresh()
    for name in ("SAEZ", "ORACLE_GRID", "ORACLE"):
        assert rows[name][-1] == f"{others.worth(BASELINES[name](here.setting())):,.0f}"
    assert (rows["ORACLE"][2], rows["start"][-2]) == ("100.0%", "0.0%")
    assert max(len(line.rstrip()) for line in out[first : first + 13]) <= 80


def test_where_a_shock_names_workers_a_run_says_why_the_column_is_missing(cli: CommandLine) -> None:
    run = ("run", "--llm", "rules", "--num-agents", "4", "--max-timesteps", "2")
    out = cli(*run, "--shock", "year=1: wages*0.5 where agent = 0").out
    assert "on 2,000" not in out
    assert "No figures on fresh people: a shock on wages selects workers by number" in " ".join(out.split())
