"""`llm-economist personas`: write and print the people of a population."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from evals.console import Console
from evals.running import choose_model, configure
from pipeline import cluster
from pipeline.minds import Minds
from pipeline.people import write_personas
from pipeline.records import run_row
from pipeline.signals import run_async
from pipeline.store import Store, check_path, row_of
from pipeline.wards import divided
from pipeline.world import create, needs_persona


def print_personas(settings: Mapping[str, Any], console: Console) -> None:
    """Write the personas that a bounded run with these settings would have, store them, and print them."""
    config = configure({"scenario": "bounded", "name": "personas", **settings})
    cluster.require(config)
    model, why = choose_model(config)
    console.print(f"Model: [bold]{escape(model)}[/bold] ({escape(why)})", highlight=False)
    check_path(config.db)
    minds = Minds(config, model)
    run_async(minds.preflight())
    world = create(config)
    with Store(config.db) as store:
        minds.enter(store.start_run(run_row(config, model)))
        with divided(minds, store) as wards:
            rows = run_async(write_personas(world, minds, store, asked=wards))
        store.write({"personas": rows, "lm_calls": [row_of(call) for call in minds.drain()]})
        store.finish_run(minds.run_id, "finished")
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
