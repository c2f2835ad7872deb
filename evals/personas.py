"""`llm-economist personas`: write, store and print the personas of a population."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape

from evals.output.console import Console
from pipeline.agents.agents import LLMAgents
from pipeline.agents.model_choice import choose_model, configure
from pipeline.config import RunConfig
from pipeline.errors import EconomistError, StoreError
from pipeline.parallel import ray_cluster
from pipeline.parallel.interrupts import run_async
from pipeline.parallel.pool import divided
from pipeline.simulation.personas import write_personas
from pipeline.simulation.records import run_row
from pipeline.simulation.world import World, create, needs_persona
from pipeline.store.call_rows import Recorded
from pipeline.store.columns import Row
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import recorded_calls
from pipeline.store.writer import Store, check_path


def print_personas(settings: Mapping[str, Any], console: Console) -> None:
    """Write the personas that a bounded run with these settings would have, store them, and print them."""
    config = configure({"scenario": "bounded", "name": "personas", **settings})
    ray_cluster.require(config)
    model, why = choose_model(config)
    console.print(f"Model: [bold]{escape(model)}[/bold] ({escape(why)})", highlight=False)
    check_path(config.db)
    llm_agents = LLMAgents(config, model)
    run_id, recorded = _cut_off(config, model)
    llm_agents.enter(run_id)
    run_async(llm_agents.preflight(earlier=recorded.pop((0, "Preflight", None), [])))
    world = create(config)
    with Store(config.db) as store:
        if run_id:
            store.reopen_run(run_id)
        llm_agents.enter(run_id or store.start_run(run_row(config, model)), store.post)
        llm_agents.recorded = recorded
        rows = _written(world, llm_agents, store, console)
    for agent in needs_persona(world):
        person = world.population.demographics(agent)
        if person is not None:
            console.print(
                f"\n[bold]worker {agent}[/bold]: {escape(person.occupation)}, {person.sex}, {person.age}",
                highlight=False,
            )
        console.print(escape(world.personas[agent] or ""), highlight=False)
    console.print(
        f"\n{len(rows)} written by {escape(model)}, {len(needs_persona(world)) - len(rows)} from {escape(config.db)}"
    )


def _written(world: World, llm_agents: LLMAgents, store: Store, console: Console) -> list[Row]:
    """The personas written by this command; the run's row records how it ended."""
    try:
        with divided(llm_agents, store) as wards:
            rows = run_async(write_personas(world, llm_agents, store, asked=wards))
        store.write({"personas": rows})
    except KeyboardInterrupt:
        store.finish_run(llm_agents.run_id, "interrupted")
        console.print("[bold]interrupted[/bold]: all replies are stored; repeat the command to continue")
        raise
    except EconomistError as error:
        if not isinstance(error, StoreError):
            store.finish_run(llm_agents.run_id, "failed", str(error))
        raise
    store.finish_run(llm_agents.run_id, "finished")
    return rows


def _cut_off(config: RunConfig, model: str) -> tuple[int, Recorded]:
    """The interrupted run of this same command and its calls; 0 if there is none."""
    row = run_row(config, model)
    same = """SELECT run_id FROM runs WHERE name = ? AND llm = ? AND config = ? AND status <> 'finished'
              AND run_id NOT IN (SELECT run_id FROM agents) ORDER BY run_id DESC LIMIT 1"""
    if not Path(config.db).exists():
        return 0, {}
    with ReadOnlyStore(config.db) as reader:
        found = reader.rows(same, [row["name"], row["llm"], row["config"]])
        return (int(found[0]["run_id"]), recorded_calls(reader, int(found[0]["run_id"]), 0)) if found else (0, {})
