"""Personas: written once by a model, kept with their seed, and plain where the model failed."""

from __future__ import annotations

import asyncio
from typing import Any

import duckdb
import pytest
from dspy import lm15

from pipeline.agents.agents import LLMAgents
from pipeline.config import build
from pipeline.errors import ModelError
from pipeline.simulation.loop import Simulation
from pipeline.simulation.persona_template import template_persona
from pipeline.simulation.world import create
from pipeline.store.writer import Store
from programs.engines.rules.engine import RulesEngine

DB = "traces.duckdb"
SMALL = {
    **{"llm": "rules", "scenario": "bounded", "num_agents": 4, "max_timesteps": 1, "seed": 5, "db": DB},
    "adapter": "chat",  # the engines and the prompts below are in that format
}


def play(**settings: Any) -> Simulation:
    """Play one small year into the one file."""
    config = build({**SMALL, **settings})
    with Store(DB) as store:
        simulation = Simulation(config, store, LLMAgents(config, config.llm or "rules"))
        asyncio.run(simulation.play())
    return simulation


def ask(query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(DB, read_only=True) as db:
        return db.execute(query).fetchall()


def written(run: int) -> list[int]:
    """For whom a run had a persona written, as often as it asked."""
    calls = f"SELECT agent FROM lm_calls WHERE signature = 'WritePersona' AND run_id = {run} ORDER BY ALL"
    return [agent for (agent,) in ask(calls)]


def personas(run: int) -> list[str | None]:
    return [persona for (persona,) in ask(f"SELECT persona FROM agents WHERE run_id = {run} ORDER BY agent")]


def wage_in_words(agent: int) -> str:
    """How a prompt of these small runs tells what `agent` earns: nobody else's says the same."""
    return f"${create(build(SMALL)).population.wage[agent]:.2f} an hour"


def said(text: str) -> lm15.Response:
    message = lm15.Message.assistant(text)
    return lm15.Response(id=None, model="x", message=message, finish_reason="stop", usage=lm15.Usage())


class SecondIsHard(RulesEngine):
    """Writes no usable persona of worker 2, and answers everything else by the rules."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        text = request.messages[0].text or ""
        if "`[[ ## persona ## ]]`" in text and wage_in_words(2) in text:
            return said("[[ ## persona ## ]]\nToo short.\n\n[[ ## completed ## ]]")
        return super().complete(request)


class Gone:
    """A server that is not there."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        raise lm15.ServerError("gone", retry_after=0.0)


class Wordless(RulesEngine):
    """Writes no usable persona of anybody."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        return said("...") if "`[[ ## persona ## ]]`" in (request.messages[0].text or "") else super().complete(request)


class Namesake(RulesEngine):
    """The rules under another name."""


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("scenario", ["bounded", "democratic"])
def test_a_second_run_uses_the_personas_of_the_first(scenario: str) -> None:
    play()
    play(scenario=scenario, max_timesteps=2, welfare="rawlsian")
    assert written(1) == [0, 1, 2, 3]
    assert written(2) == []
    assert personas(1) == personas(2)
    assert len(set(personas(1))) == 4
    assert ask("SELECT count(*) FROM personas") == [(4,)]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    "settings",
    [{"seed": 6}, {"llm": f"engine:{__name__}:Namesake"}, {"prompt_algo": "cot"}, {"agent_mix": "uniform"}],
    ids=lambda settings: next(iter(settings)),
)
def test_another_seed_model_strategy_or_population_has_its_own(settings: dict[str, Any]) -> None:
    play()
    play(**settings)
    assert written(2) == [0, 1, 2, 3]
    assert ask("SELECT count(*) FROM personas") == [(8,)]
    play()
    assert written(3) == []
    assert personas(3) == personas(1)


def test_a_persona_that_a_model_wrote_is_stored_and_shown_to_the_worker() -> None:
    play()
    replies = ask("SELECT parsed->>'persona' FROM lm_calls WHERE signature = 'WritePersona' ORDER BY agent")
    assert [text for (text,) in replies] == personas(1)
    prompts = ask("""
        SELECT count(*) FROM lm_calls JOIN agents a USING (run_id, agent)
        WHERE signature IN ('ChooseLabor', 'JudgeTaxPolicy') AND prompt LIKE '%' || a.persona || '%'
    """)
    assert prompts == [(8,)]


def test_a_writer_is_told_what_the_census_says() -> None:
    play()
    rows = ask("""
        SELECT prompt, occupation, sex, age, wage FROM lm_calls JOIN agents USING (run_id, agent)
        WHERE signature = 'WritePersona'
    """)
    assert len(rows) == 4
    for prompt, occupation, sex, age, wage in rows:
        told = prompt.rpartition("[[ ## occupation ## ]]")[2]
        assert told.startswith(f"\n{occupation}\n")
        assert f"[[ ## sex ## ]]\n{sex}\n" in told
        assert f"[[ ## age ## ]]\n{age}\n" in told
        assert f"${wage:.2f} an hour, ${wage * 2080:,.0f} a year at 40 hours" in told


def test_a_persona_that_could_not_be_written_is_the_template_and_is_tried_again() -> None:
    hard = f"engine:{__name__}:SecondIsHard"
    simulation = play(llm=hard)
    population = simulation.world.population
    person = population.demographics(2)
    assert person is not None
    assert personas(1)[2] == template_persona(person, float(population.wage[2]))
    assert personas(1)[1] != template_persona(person, float(population.wage[1]))
    assert ask("SELECT agent FROM personas ORDER BY agent") == [(0,), (1,), (3,)]
    calls = "SELECT status, attempt FROM lm_calls WHERE signature = 'WritePersona' AND agent = 2 ORDER BY attempt"
    assert ask(calls) == [("parse_error", 0), ("parse_error", 1), ("parse_error", 2)]
    play(llm=hard)
    assert written(2) == [2, 2, 2]
    assert personas(2) == personas(1)


def test_a_model_that_writes_nonsense_leaves_everybody_with_the_template() -> None:
    population = play(llm=f"engine:{__name__}:Wordless").world.population
    for agent, persona in enumerate(personas(1)):
        person = population.demographics(agent)
        assert person is not None
        assert persona == template_persona(person, float(population.wage[agent]))
    assert written(1) == [agent for agent in range(4) for _ in range(3)]
    assert ask("SELECT count(*) FROM personas") == [(0,)]


def test_a_model_that_does_not_reply_ends_the_run_in_one_line() -> None:
    with pytest.raises(ModelError, match=r"^[^\n]*Gone wrote no persona \(server_error: [^\n]+\)$"):
        play(llm=f"engine:{__name__}:Gone")
    assert ask("SELECT count(*) FROM years") == ask("SELECT count(*) FROM personas") == [(0,)]


def test_calls_that_wrote_no_persona_are_stored_nevertheless() -> None:
    with pytest.raises(ModelError):
        play(llm=f"engine:{__name__}:Gone")
    assert set(written(1)) == {0, 1, 2, 3}


def test_only_asked_egoists_have_one_written() -> None:
    mixed = {"percent_ego": 50, "percent_alt": 25, "percent_adv": 25}
    play(**mixed)
    own = [agent for (agent,) in ask("SELECT agent FROM agents WHERE utility_type = 'egotistical' ORDER BY agent")]
    assert written(1) == own
    assert len(own) == 2
    assert [persona is not None for persona in personas(1)] == [agent in own for agent in range(4)]


@pytest.mark.parametrize(("worker_type", "asked"), [("ONE_LLM", [0]), ("FIXED", [])])
def test_workers_without_a_model_have_the_template_and_cost_nothing(worker_type: str, asked: list[int]) -> None:
    population = play(worker_type=worker_type).world.population
    assert written(1) == asked
    for agent in range(len(asked), 4):
        person = population.demographics(agent)
        assert person is not None
        assert personas(1)[agent] == template_persona(person, float(population.wage[agent]))
    assert ask("SELECT count(*) FROM personas") == [(len(asked),)]


def test_no_worker_is_described_in_a_rational_economy() -> None:
    play(scenario="rational")
    assert written(1) == []
    assert personas(1) == [None] * 4
