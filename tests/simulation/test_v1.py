"""What went wrong in the released code of the paper and has no better place: docs/v1.md lists everything."""

from __future__ import annotations

import asyncio
import re
import tracemalloc
from typing import Any

import dspy
import duckdb
import numpy as np
import pytest
from dspy import lm15
from dspy.utils.exceptions import LMAuthError
from support.village import Scripted, ask, inputs_of, module_of, scripted_lm

from pipeline.agents.agents import LLMAgents
from pipeline.config import build
from pipeline.economy.tax import BRACKETS, US_FED, uniform
from pipeline.economy.utility import Economy, best_response, income
from pipeline.economy.wages import wages_uniform
from pipeline.errors import ModelError
from pipeline.simulation import observations as see
from pipeline.simulation.loop import Simulation
from pipeline.simulation.memory import PlannerMemory, WorkerMemory
from pipeline.store.writer import Store
from programs.engines.rules.prompt_parser import FORMATS
from signatures.types import TaxSchedule

SMALL = {"llm": "rules", "num_agents": 4, "max_timesteps": 4, "two_timescale": 2, "seed": 3, "db": "run.duckdb"}


def play(**settings: Any) -> duckdb.DuckDBPyConnection:
    """Play a small run into a file in the current folder, and open it."""
    config = build({**SMALL, **settings})
    llm_agents = LLMAgents(config, config.llm or "rules")
    with Store(config.db) as store:
        asyncio.run(Simulation(config, store, llm_agents).play())
    return duckdb.connect(config.db, read_only=True)


# -- the economy --------------------------------------------------------------------------------------------------


def test_uniform_wages_reach_every_bracket() -> None:
    wages = wages_uniform(1_000, np.random.default_rng(0))
    for rate in (0, 50):
        law = uniform(BRACKETS["three"], rate)
        earned = income(wages, best_response(Economy(), law, wages, len(wages)))
        bracket = np.searchsorted(law.thresholds, earned, side="right") - 1
        assert np.bincount(bracket, minlength=3).min() > 50


# -- what is told -------------------------------------------------------------------------------------------------


def test_a_planner_of_a_hundred_people_remembers_every_law() -> None:
    with play(num_agents=100, max_timesteps=12, worker_type="FIXED") as db:
        laws = [tuple(rates) for (rates,) in db.execute("SELECT rates FROM years ORDER BY year").fetchall()]
        prompts = db.execute("SELECT prompt FROM lm_calls WHERE signature = 'SetTaxRates' ORDER BY year").fetchall()
    assert len(set(laws)) > 3
    for turn, (prompt,) in enumerate(prompts):
        for law in laws[: 2 * turn]:
            assert f"\n{'/'.join(f'{rate:g}' for rate in law)}: " in prompt


def test_people_decide_everything_as_the_person_they_are() -> None:
    with play(scenario="democratic", platforms=True) as db:
        told = db.execute("""
            SELECT signature, bool_and(contains(prompt, persona)) FROM lm_calls JOIN agents USING (run_id, agent)
            WHERE signature <> 'WritePersona' GROUP BY ALL
        """).fetchall()
    asked = {"ChooseLabor", "JudgeTaxPolicy", "StandForOffice", "CastVote", "GovernAsLeader"}
    assert dict(told) == dict.fromkeys(asked, True)


def test_a_worker_is_told_the_whole_law_and_what_effort_costs() -> None:
    with play() as db:
        prompts = db.execute("SELECT prompt FROM lm_calls WHERE signature = 'ChooseLabor'").fetchall()
    assert len(prompts) == 16
    for (prompt,) in prompts:
        question = prompt.rpartition("### user")[2]
        assert re.search(r"\d+% up to \$90,000; \d+% to \$159,100; \d+% above", question)
        assert "0.026 * hours^3.5" in question


@pytest.mark.parametrize("scenario", ["rational", "democratic"])
def test_no_prompt_shows_a_number_that_is_none_or_one_of_numpys(scenario: str) -> None:
    with play(scenario=scenario, platforms=scenario == "democratic") as db:
        prompts = db.execute("SELECT prompt FROM lm_calls").fetchall()
    assert len(prompts) > 16
    assert not [text for (text,) in prompts if re.search(r"\bnan\b|\binf\b|float64|\bNone\b", text)]


def test_a_year_that_was_not_played_is_never_the_best() -> None:
    workers, planner = WorkerMemory(50, 1), PlannerMemory()
    for year, value in enumerate((-300.0, -200.0, -400.0)):
        law, hours = uniform(BRACKETS["three"], 10.0 * year), np.array([30.0 + year])
        workers.remember(year=year, schedule=law, hours=hours, income=hours, tax=hours, value=np.array([value]))
        planner.remember(year=year, schedule=law, welfare=value, settled=True)
    assert str(see.worker_record(workers, 0, law)).splitlines()[-1] == "best: 31 hours, -200.000"
    assert str(see.planner_record(planner)).splitlines()[1:] == [
        "0/0/0: -300.00, -300.00 (1)",
        "10/10/10: -200.00, -200.00 (1)",
        "20/20/20: -400.00, -400.00 (1)",
    ]


def test_seven_brackets_are_remembered_in_next_to_no_room() -> None:
    """All schedules that seven brackets allow would take hundreds of megabytes."""
    memory = PlannerMemory()
    tracemalloc.start()
    for year in range(200):
        law = TaxSchedule(thresholds=US_FED.thresholds, rates=(year / 2,) * 7)
        memory.remember(year=year, schedule=law, welfare=float(year), settled=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


# -- who answers --------------------------------------------------------------------------------------------------


def test_a_repair_asks_for_the_reasoning_and_at_the_temperature_of_the_question() -> None:
    engine = Scripted([FORMATS["chat"].write({"reasoning": "Much.", "labor": hours}) for hours in (140, 40)])
    lm = scripted_lm(engine).copy(temperature=0.3)
    said = ask(module_of("ChooseLabor", "cot"), inputs_of("ChooseLabor"), lm=lm)
    assert (said.reasoning, said.labor) == ("Much.", 40)
    first, second = engine.requests
    assert first.config.temperature == second.config.temperature == 0.3
    assert "reasoning" in str(second.system)


def test_a_question_that_failed_changes_nothing_in_the_next() -> None:
    engine = Scripted([lm15.AuthError("gone"), FORMATS["chat"].write({"satisfied": True})])
    lm, module = scripted_lm(engine), module_of("JudgeTaxPolicy")
    with pytest.raises(LMAuthError):
        ask(module, inputs_of("JudgeTaxPolicy"), lm=lm)
    assert ask(module, inputs_of("JudgeTaxPolicy"), lm=lm).satisfied is True
    first, second = engine.requests
    assert (second.system, second.messages) == (first.system, first.messages)
    assert "satisfied" in str(second.system)


def test_altruists_and_adversaries_play_on_seven_brackets_too() -> None:
    mixed = {"percent_ego": 0, "percent_alt": 50, "percent_adv": 50}
    with play(scenario="democratic", platforms=True, bracket_setting="US_FED", **mixed) as db:
        asked = db.execute("SELECT count(*) FILTER (NOT fallback), count(DISTINCT agent) FROM decisions").fetchone()
        kinds = db.execute("SELECT utility_type, count(*) FROM agents GROUP BY ALL ORDER BY ALL").fetchall()
    assert asked == (16, 4)
    assert kinds == [("adversarial", 2), ("altruistic", 2)]


class Steady(dspy.Module):
    """Works thirty-three hours, whatever is asked."""

    def __init__(self, signature: Any) -> None:
        super().__init__()

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        return dspy.Prediction(labor=33)


class Misspelt(dspy.Module):
    """Has a method that nothing calls, and none that is called."""

    def __init__(self, signature: Any) -> None:
        super().__init__()

    def compute_utility(self, **inputs: Any) -> dspy.Prediction:
        return dspy.Prediction(labor=33)


def test_a_users_own_worker_is_used() -> None:
    with play(strategy={"worker": f"{__name__}:Steady"}) as db:
        assert db.execute("SELECT DISTINCT labor, fallback FROM decisions").fetchall() == [(33, False)]


def test_a_users_own_worker_that_fails_ends_the_run() -> None:
    with pytest.raises(ModelError, match="Misspelt of role worker failed"):
        play(strategy={"worker": f"{__name__}:Misspelt"})
