"""`state` builds the inputs that a run sends, and `people` gives the best responses that a run measures against."""

from __future__ import annotations

import asyncio
from typing import Any

import dspy
import numpy as np
import pytest
from support.village import ask, inputs_of, module_of

import llm_economist as le
from pipeline.agents.rule_agents import RuleAgents
from pipeline.config import build
from pipeline.economy.baselines import BASELINES
from pipeline.economy.tax import US_FED
from pipeline.simulation.government import planner_inputs, vote_inputs
from pipeline.simulation.loop import labor_inputs, play_year
from pipeline.simulation.personas import persona_inputs
from pipeline.simulation.world import World, create
from programs.calls.model_names import RULES
from signatures.planner import SetTaxRates
from signatures.voter import CastVote
from signatures.worker import ChooseLabor

LAW = (30, 40, 60)


def played(years: int, **settings: Any) -> World:
    """An economy after some years of agents that answer by rule."""
    config = build({"num_agents": 4, "max_timesteps": 10, "two_timescale": 2, "seed": 3, "llm": RULES, **settings})
    world, agents = create(config), RuleAgents(config.seed)

    async def play() -> None:
        for year in range(years):
            await play_year(world, agents, year)

    asyncio.run(play())
    return world


def history(world: World, agent: int) -> dict[str, Any]:
    rows = world.memory.rows()
    return {
        "hours": tuple(world.memory.hours[rows, agent]),
        "past_rates": tuple(world.memory.schedule[row].rates for row in rows),
        "last_rebate": world.outcome.rebate if world.outcome else None,
    }


# -- as a run asks -----------------------------------------------------------------------------------------------------


LINEAR: dict[str, Any] = {}
LOGARITHM: dict[str, Any] = {"utility": "crra", "gamma": 1.0}


@pytest.mark.parametrize("utility", [LINEAR, LOGARITHM], ids=["linear", "crra"])
@pytest.mark.parametrize("scenario", ["rational", "bounded"])
@pytest.mark.parametrize("years", [0, 1, 5])
def test_a_worker_is_told_what_a_run_tells_it(scenario: str, years: int, utility: dict[str, Any]) -> None:
    world = played(years, scenario=scenario, welfare="utilitarian", bracket_setting="US_FED", **utility)
    for agent in range(4):
        facts: dict[str, Any] = {
            "wage": world.population.wage[agent],
            "rates": world.schedule.rates,
            "num_agents": 4,
            "persona": world.persona(agent),
            **history(world, agent),
            **utility,
        }
        run = labor_inputs(world, agent, years)
        assert le.state("worker", **facts, phase=run["phase"]) == run


@pytest.mark.parametrize("kind", ["altruistic", "adversarial"])
def test_the_objective_of_other_workers_is_the_planners(kind: str) -> None:
    percent = {
        "percent_ego": 0,
        "percent_alt": 100 * (kind == "altruistic"),
        "percent_adv": 100 * (kind == "adversarial"),
    }
    world = played(0, welfare="atkinson", inequality_aversion=2, **percent)
    facts = {"wage": world.population.wage[0], "rates": (50, 50, 50), "num_agents": 4, "utility_type": kind}
    told = le.state("worker", **facts, welfare="atkinson", inequality_aversion=2, phase="explore")
    assert told == labor_inputs(world, 0, 0)


@pytest.mark.parametrize("satisfaction", ["report", "objective"])
def test_a_planner_is_told_what_a_run_tells_it(satisfaction: str) -> None:
    before = played(0, satisfaction=satisfaction, scenario="bounded")
    facts: dict[str, Any] = {"wages": tuple(before.population.wage), "halved": satisfaction == "objective"}
    assert le.state("planner", **facts, rates=(50, 50, 50), first=True, phase="explore") == planner_inputs(before, 0)
    world = played(1)
    assert world.outcome is not None
    run = planner_inputs(world, 1)
    told = le.state(
        "planner",
        wages=tuple(world.population.wage),
        rates=world.schedule.rates,
        hours=tuple(world.outcome.labor),
        phase="explore",
    )
    assert told == run


@pytest.mark.parametrize("utility", [LINEAR, LOGARITHM], ids=["linear", "crra"])
def test_the_record_of_a_planner_has_the_welfare_of_best_responses(utility: dict[str, Any]) -> None:
    people = le.people(5, seed=7, **utility)
    past = [(50, 50, 50), (40, 40, 50)]
    told = le.state("planner", wages=people.wages, rates=LAW, past_rates=past, years=3, **utility)
    lines = told["record"].splitlines()[1:]
    assert [line.split(":")[0] for line in lines] == ["50/50/50", "40/40/50", "30/40/60"]
    for line, rates in zip(lines, [(50, 50, 50), (40, 40, 50), LAW], strict=True):
        welfare = people.under(rates).welfare["inverse_income"]
        assert line.endswith("(3)")
        assert float(line.split(":")[1].split(",")[0]) == pytest.approx(welfare, rel=1e-4)


@pytest.mark.parametrize("rule", ["plurality", "approval", "borda"])
@pytest.mark.parametrize("platforms", [True, False])
def test_a_voter_is_told_what_a_run_tells_it(rule: str, platforms: bool) -> None:
    world = played(2, scenario="democratic", election_rule=rule, platforms=platforms)
    proposed = {1: (10, 0, -10), 3: (0, 0, 20)}
    candidates = {}
    for number, changes in proposed.items():
        census = world.population.demographics(number)
        assert census is not None
        candidates[number] = {
            "wage": world.population.wage[number],
            "platform": changes if platforms else None,
            **census.model_dump(),
        }
    for voter in (0, 3):
        told = le.state(
            "voter",
            wage=world.population.wage[voter],
            persona=world.personas[voter],
            rates=world.schedule.rates,
            num_agents=4,
            candidates=candidates,
            voter=voter,
            election_rule=rule,
            **history(world, voter),
        )
        assert told == vote_inputs(world, voter, proposed)


def test_a_writer_of_personas_is_told_what_a_run_tells_it() -> None:
    world = played(0, scenario="bounded")
    for agent in range(4):
        census = world.population.demographics(agent)
        assert census is not None
        told = le.state("persona", **census.model_dump(), wage=world.population.wage[agent])
        assert told == persona_inputs(world, agent)


@pytest.mark.parametrize(
    ("role", "signature", "facts"),
    [
        ("worker", ChooseLabor, {"wage": 21.5, "rates": LAW, "hours": (40, 35), "last_rebate": 9000}),
        ("planner", SetTaxRates, {"wages": (10, 20, 30), "rates": LAW}),
        ("voter", CastVote, {"wage": 20, "rates": LAW, "candidates": {0: {"wage": 30}, 2: {"wage": 9}}}),
    ],
)
def test_a_module_over_the_signature_takes_it(
    role: Any, signature: type[dspy.Signature], facts: dict[str, Any]
) -> None:
    told = le.state(role, **facts)
    assert told.keys() == signature.input_fields.keys()
    answer = ask(module_of(signature.__name__), {**inputs_of(signature.__name__), **told})
    assert set(answer.keys()) >= set(signature.output_fields)


@pytest.mark.parametrize(
    ("role", "facts", "words"),
    [
        ("king", {}, "state 'king': expected one of worker, planner, voter, persona"),
        ("worker", {"rates": LAW}, "wage is missing"),
        ("worker", {"wage": -1, "rates": LAW}, "wage=-1: input should be greater than 0"),
        ("worker", {"wage": "a lot", "rates": LAW}, "wage='a lot': input should be a valid number"),
        ("worker", {"wage": 9, "rates": (30, 140, 60)}, "rates.1=140"),
        ("worker", {"wage": 9, "rates": (30, 40)}, "2 brackets need thresholds"),
        ("worker", {"wage": 9, "rates": LAW, "thresholds": (0, 10)}, "expected 2 percentages"),
        ("worker", {"wage": 9, "rates": LAW, "wagee": 3}, "no argument 'wagee'; expected rates"),
        ("worker", {"wage": 9, "rates": LAW, "hours": (40,)}, "need last_rebate"),
        (
            "worker",
            {"wage": 9, "rates": LAW, "hours": (40,), "last_rebate": 1, "past_rates": ()},
            "past_rates has 0 years",
        ),
        (
            "worker",
            {"wage": 9, "rates": LAW, "hours": (40,), "last_rebate": 1, "utility_type": "altruistic"},
            "only the record of an egotistical",
        ),
        ("worker", {"wage": 9, "rates": LAW, "welfare": "mine"}, "welfare='mine': expected one of"),
        ("worker", {"wage": 9, "rates": LAW, "economy": "mine"}, "economy='mine': expected one of"),
        ("worker", {"wage": 9, "rates": LAW, "gamma": 1}, "--gamma 1 needs --utility crra"),
        ("worker", {"wage": 9, "rates": LAW, "utility": "crra"}, "needs --gamma"),
        ("worker", {"wage": 9, "rates": LAW, "utility": "log"}, "utility='log'"),
        ("worker", {"wage": 9, "rates": LAW, **LOGARITHM, "participation_cost": 5}, "--participation-cost 5 does not"),
        ("worker", {"wage": 9, "rates": LAW, "phase": "rest"}, "phase='rest'"),
        ("planner", {"wages": (), "rates": LAW}, "wages=()"),
        ("planner", {"wages": (9,), "rates": LAW, "hours": (1, 2)}, "hours has 2 workers, and wages 1"),
        ("planner", {"wages": (9,), "rates": LAW, "first": True, "hours": (1,)}, "leave out hours"),
        ("voter", {"wage": 9, "rates": LAW, "candidates": {}}, "candidates={}"),
        ("voter", {"wage": 9, "rates": LAW, "candidates": {1: {"wage": 9, "platform": (10,)}}}, "needs 3 changes"),
        ("voter", {"wage": 9, "rates": LAW, "candidates": {1: {"wage": 9, "age": 30}}}, "or none of them"),
        ("voter", {"wage": 9, "rates": LAW, "candidates": {1: {"wage": 9}}, "election_rule": "x"}, "election_rule='x'"),
        ("persona", {"occupation": "Lawyers", "sex": "Female", "age": 5, "wage": 9}, "age=5"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_in_one_line(role: Any, facts: dict[str, Any], words: str) -> None:
    with pytest.raises(le.UsageError, match=r"^[^\n]*$") as refused:
        le.state(role, **facts)
    assert words in str(refused.value)


# -- people ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_people_are_those_of_a_run_and_so_is_oracle() -> None:
    run = le.simulate(llm="rules", num_agents=6, max_timesteps=2, two_timescale=2, seed=5, db="a.duckdb")
    people = le.people(6, seed=5)
    wages = run.sql("SELECT wage FROM agents WHERE run_id = $run_id ORDER BY agent").fetchall()
    assert people.wages.tolist() == [wage for (wage,) in wages]
    ((stored,),) = run.sql("SELECT welfare_oracle FROM years WHERE run_id = $run_id AND year = 1").fetchall()
    assert run.oracle.schedule == people.law("ORACLE")
    assert run.oracle.welfare == pytest.approx(stored)
    assert people.under(run.oracle.schedule).welfare["inverse_income"] == pytest.approx(stored)


def test_hours_follow_the_closed_form_under_one_rate() -> None:
    """l = ((1 - tau*(1 - 1/N)) * w / (c*delta))^e, below the cap."""
    people = le.people(wages=[10, 20, 40], bracket_setting="flat")
    tau, elasticity = 0.3 * (1 - 1 / 3), 0.4
    expected = ((1 - tau) * people.wages / (0.0005 * 3.5)) ** elasticity
    year = people.under([30])
    np.testing.assert_allclose(year.hours, expected)
    np.testing.assert_allclose(year.after_tax, year.income - year.tax + year.tax.mean())
    assert year.rebate == pytest.approx(year.tax.mean())
    assert set(year.marginal_rate) == {30}


@pytest.mark.parametrize("elasticity", [0.1, 0.4, 1.0])
def test_the_elasticity_is_that_of_hours_and_leaves_full_time_at_full_time(elasticity: float) -> None:
    full_time = 0.0005 * 3.5 * 40**2.5
    people = le.people(wages=[full_time] * 1000, bracket_setting="flat", labor_elasticity=elasticity)
    untaxed, taxed = people.under([0]).hours[0], people.under([20]).hours[0]
    assert untaxed == pytest.approx(40)
    assert np.log(taxed / untaxed) / np.log(1 - 0.2 * 0.999) == pytest.approx(elasticity)
    assert people.setting.elasticities == (elasticity,)
    harder = le.people(wages=[full_time], bracket_setting="flat", labor_elasticity=elasticity, effort=2)
    assert harder.under([0]).hours[0] == pytest.approx(40 * 2**-elasticity)


def test_no_other_law_is_better_than_oracle() -> None:
    people = le.people(20, welfare="utilitarian", seed=1)
    best = people.under(people.law("ORACLE")).welfare["utilitarian"]
    for name in BASELINES:
        law = people.law(name)
        if law.thresholds == people.thresholds:
            assert people.under(law).welfare["utilitarian"] <= best + 1e-9
    assert people.law("US_FED").rates == US_FED.rates


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: le.people(0), "--num-agents 0"),
        (lambda: le.people(agent_mix="mars"), "--agent-mix 'mars'"),
        (lambda: le.people(wages=[]), "wages []"),
        (lambda: le.people(wages=[10, -1]), "wages [10, -1]"),
        (lambda: le.people(wages="many"), "wages 'many'"),
        (lambda: le.people(labor_elasticity=0), "labor_elasticity=0"),
        (lambda: le.people(effort=float("nan")), "effort=nan"),
        (lambda: le.people(5).under([30]), "expected 3 percentages from -100 to 100"),
        (lambda: le.people(5).under([30, 40, 101]), "expected 3 percentages"),
        (lambda: le.people(5).under("abc"), "expected 3 percentages"),
        (lambda: le.people(5).law("MINE"), "planner 'MINE': expected one of US_FED"),
    ],
)
def test_people_that_cannot_be_are_refused_in_one_line(made: Any, words: str) -> None:
    with pytest.raises(le.UsageError, match=r"^[^\n]*$") as refused:
        made()
    assert words in str(refused.value)
