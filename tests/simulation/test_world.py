"""The world before its first year: who is there, which law is in force, and where randomness comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.config import build
from pipeline.economy.baselines import BASELINES, START_RATE
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.tax import BRACKETS, US_FED, uniform
from pipeline.economy.welfare import WELFARE
from pipeline.simulation.persona_template import template_persona
from pipeline.simulation.world import World, create, needs_persona

MIXED = {"percent_ego": 50, "percent_alt": 25, "percent_adv": 25}


def world(**settings: Any) -> World:
    return create(build({"num_agents": 8, **settings}))


@pytest.mark.parametrize("setting", sorted(BRACKETS))
def test_a_schedule_that_a_model_sets_starts_at_50_percent(setting: str) -> None:
    schedule = world(bracket_setting=setting).schedule
    assert START_RATE == 50
    assert schedule.thresholds == BRACKETS[setting]
    assert set(schedule.rates) == {50.0}


@pytest.mark.parametrize("setting", sorted(BRACKETS))
def test_the_federal_law_is_always_on_its_own_brackets(setting: str) -> None:
    assert world(planner_type="US_FED", bracket_setting=setting).schedule == US_FED


def test_planners_without_a_model_set_their_law_at_once() -> None:
    assert set(world(planner_type="FREE_MARKET").schedule.rates) == {0.0}
    assert set(world(planner_type="UNIFORM", uniform_rate=35).schedule.rates) == {35.0}
    assert world(planner_type="SAEZ_THREE", bracket_setting="flat").schedule.thresholds == BRACKETS["three"]


@pytest.mark.parametrize(("worker_type", "asked"), [("LLM", list(range(8))), ("ONE_LLM", [0]), ("FIXED", [])])
@pytest.mark.parametrize("scenario", ["rational", "bounded", "democratic"])
def test_the_worker_type_says_who_is_asked(scenario: str, worker_type: str, asked: list[int]) -> None:
    here = world(scenario=scenario, worker_type=worker_type)
    assert here.voters_asked == asked
    assert (here.hours[asked] == 40).all()
    others = np.delete(here.hours, asked)
    assert ((others >= 40) & (others <= 60) & (others == others.round())).all()


def test_the_same_seed_is_the_same_world() -> None:
    one, again, other = (world(seed=seed, scenario="bounded", worker_type="FIXED") for seed in (1, 1, 2))
    assert (one.population.wage == again.population.wage).all()
    assert (one.hours == again.hours).all()
    assert one.personas == again.personas
    assert not (one.population.wage == other.population.wage).any()
    assert not (one.hours == other.hours).all()


@pytest.mark.parametrize("mix", ["us_income", "uniform", "acs"])
def test_nothing_but_the_mix_and_the_seed_decides_what_people_earn(mix: str) -> None:
    settings: list[dict[str, Any]] = [
        {},
        MIXED,
        {"scenario": "bounded"},
        {"scenario": "democratic", "platforms": True, **MIXED},
        {"worker_type": "FIXED", "planner_type": "SAEZ"},
        {"bracket_setting": "flat", "economy": "v1"},
    ]
    wages = [world(agent_mix=mix, **given).population.wage for given in settings]
    assert all((other == wages[0]).all() for other in wages)


def test_a_society_is_drawn_from_the_census_unless_asked_otherwise() -> None:
    assert (world().population.wage == world(agent_mix="us_income").population.wage).all()
    for scenario in ("bounded", "democratic"):
        assert (world(scenario=scenario).population.wage == world(agent_mix="acs").population.wage).all()
        assert (world(scenario=scenario, agent_mix="uniform").population.wage <= 159.1).all()


# -- who carries a persona ----------------------------------------------------------------------------------------


def test_no_one_has_a_persona_in_a_rational_economy() -> None:
    here = world(**MIXED, agent_mix="acs")
    assert needs_persona(here) == []
    assert here.personas == [None] * 8


@pytest.mark.parametrize("scenario", ["bounded", "democratic"])
@pytest.mark.parametrize("worker_type", ["LLM", "ONE_LLM", "FIXED"])
def test_a_model_writes_the_personas_of_asked_egoists_and_the_template_those_of_others(
    scenario: str, worker_type: str
) -> None:
    here = world(scenario=scenario, worker_type=worker_type, **MIXED)
    own = here.population.utility_type == "egotistical"
    assert 0 < own.sum() < 8
    assert needs_persona(here) == [agent for agent in range(8) if own[agent] and here.asked[agent]]
    for agent in range(8):
        person = here.population.demographics(agent)
        assert person is not None
        template = template_persona(person, float(here.population.wage[agent]))
        assert here.personas[agent] == (template if own[agent] and not here.asked[agent] else None)


# -- randomness ---------------------------------------------------------------------------------------------------


def test_every_purpose_and_year_has_its_own_randomness() -> None:
    here = world(seed=3)
    draws = {
        (purpose, year): float(here.rng(purpose, year).random()) for purpose in ("tie", "ballot") for year in (0, 1)
    }
    assert len(set(draws.values())) == 4
    here.rng("tie", 0).random(100)  # one purpose's draws shift no other's, nor its own
    assert draws == {key: float(here.rng(*key).random()) for key in draws}
    assert float(world(seed=4).rng("tie", 0).random()) != draws["tie", 0]


# -- how good a law is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("welfare", sorted(WELFARE))
def test_a_law_is_judged_by_rational_workers(welfare: str) -> None:
    here = world(welfare=welfare)
    wage = here.population.wage
    judged = []
    for rates in ((50, 50, 50), (10, 20, 30), (50, 50, 50)):
        here.schedule = here.schedule.model_copy(update={"rates": rates})
        best = equilibrium(here.economy, here.schedule, wage)
        judged.append(here.welfare_best_response())
        assert judged[-1] == pytest.approx(WELFARE[welfare](best.utility, best.income, wage))
    assert judged[0] == judged[2] != judged[1]


def test_two_laws_with_the_same_rates_on_other_brackets_are_judged_apart() -> None:
    here = world(planner_type="UNIFORM", uniform_rate=20)
    progressive = here.schedule.model_copy(update={"rates": (10.0, 50.0, 90.0)})
    here.schedule = progressive
    one = here.welfare_best_response()
    here.schedule = progressive.model_copy(update={"thresholds": (0.0, 20_000.0, 40_000.0)})
    assert here.welfare_best_response() != one


@pytest.mark.parametrize("planner", ["LLM", "US_FED", "ORACLE"])
def test_the_reference_points_are_fifty_percent_and_the_best_law_whatever_the_planner(planner: str) -> None:
    here = world(planner_type=planner, num_agents=20)
    start, grid, best = here.start_and_oracle()
    assert here.start_and_oracle() == world(num_agents=20).start_and_oracle()
    here.schedule = uniform(BRACKETS["three"], 50)
    assert here.welfare_best_response() == start
    here.schedule = BASELINES["ORACLE"](here.setting())
    assert here.welfare_best_response() == best > start
    here.schedule = BASELINES["ORACLE_GRID"](here.setting())
    assert start < here.welfare_best_response() == grid <= best


def test_the_landmarks_are_those_of_the_brackets_and_the_objective() -> None:
    assert (
        world(num_agents=20, bracket_setting="flat").start_and_oracle()[2] < world(num_agents=20).start_and_oracle()[2]
    )
    start, grid, best = world(num_agents=20, welfare="utilitarian").start_and_oracle()
    here = world(num_agents=20, welfare="utilitarian", planner_type="FREE_MARKET")
    assert start < here.welfare_best_response() == grid == best
