"""Write the workers' personas before the first year, or reuse those that the same model wrote for an earlier run."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from pipeline.agents.agents import LLMAgents
from pipeline.agents.question import Answer, Answerer, Question
from pipeline.config import RunConfig
from pipeline.errors import ModelError
from pipeline.simulation.persona_template import template_persona
from pipeline.simulation.world import World, needs_persona
from pipeline.store.columns import Row
from pipeline.store.writer import Store
from programs.roles import saved_program
from signatures.texts.worker import Pay

log = logging.getLogger("llm_economist")


def written_by(config: RunConfig) -> str:
    """The strategy that writes a run's personas, with the hash of its saved program if there is one."""
    name, path = config.strategy_of("persona"), config.program.get("persona")
    return name if path is None else f"{name} {saved_program.state_hash(saved_program.read(path)['predictors'])}"


async def write_personas(
    world: World, llm_agents: LLMAgents, store: Store, *, asked: Answerer | None = None
) -> list[Row]:
    """Fill `world.personas` from the store, or else by the model; returns the new rows.

    Stored personas are reused if model, strategy and seed are the same. `asked`: answers instead of `llm_agents`. If
    the model fails for a worker, the persona comes from the template.
    """
    population = world.population
    strategy = written_by(world.config)
    stored = store.personas(model=llm_agents.model_of("persona"), strategy=strategy, seed=world.config.seed)
    people = {agent: population.demographics(agent) for agent in needs_persona(world)}
    keys = {
        agent: (agent, person.occupation, person.sex, person.age, float(population.wage[agent]))
        for agent, person in people.items()
        if person is not None
    }
    for agent, key in keys.items():
        world.personas[agent] = stored.get(key)
    missing = [agent for agent in keys if world.personas[agent] is None]
    answers = await asyncio.gather(*(ask_persona(world, asked or llm_agents, agent) for agent in missing))
    rows: list[Row] = []
    for agent, answer in zip(missing, answers, strict=True):
        person = people[agent]
        assert person is not None
        if answer.prediction is None:
            log.warning("persona of worker %d: %s; the plain template is used", agent, answer.error)
            world.personas[agent] = template_persona(person, float(population.wage[agent]))
            continue
        world.personas[agent] = str(answer.prediction.persona)
        columns = ("agent", "occupation", "sex", "age", "wage")
        row = dict(zip(columns, keys[agent], strict=True))
        rows.append(
            {
                "model": llm_agents.model_of("persona"),
                "strategy": strategy,
                "seed": world.config.seed,
                **row,
                "persona": world.personas[agent],
            }
        )
    if missing and not rows and "persona" not in llm_agents.hearing.heard:
        why = llm_agents.hearing.failure("persona")
        raise ModelError(f"{llm_agents.shown_model} wrote no persona ({why})")
    return rows


async def ask_persona(world: World, llm_agents: Answerer, agent: int) -> Answer:
    """Ask the model for one agent's persona."""
    return await llm_agents.ask(Question("WritePersona", persona_inputs(world, agent), 0, agent))


def persona_inputs(world: World, agent: int) -> dict[str, Any]:
    """The input fields of the prompt for a persona."""
    person = world.population.demographics(agent)
    assert person is not None
    wage = float(world.population.wage[agent])
    return {
        "occupation": person.occupation,
        "sex": person.sex,
        "age": person.age,
        "wage": str(Pay.of(wage)),
    }


async def assign_personas(world: World, llm_agents: Answerer) -> int:
    """Have a model write the personas that `world` needs; return the number of failures.

    These people have no persona and are described only by their pay.
    """
    people = needs_persona(world)
    answers = await asyncio.gather(*(ask_persona(world, llm_agents, agent) for agent in people))
    for agent, answer in zip(people, answers, strict=True):
        if answer.prediction is not None:
            world.personas[agent] = str(answer.prediction.persona)
    return sum(answer.prediction is None for answer in answers)
