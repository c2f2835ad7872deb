"""`llm-economist fork`: branch a counterfactual from a stored run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.markup import escape
from rich.table import Table

from evals.cautions import messages as cautions_told
from evals.output.console import Console
from evals.output.number_format import plain
from evals.output.tables import rich_table
from evals.run.command import play, tell_shocks
from evals.run.dollars import tell_dollars
from evals.run.permissions import NOTHING, Allowed, take
from evals.run.resume import overridden, valid
from evals.telemetry.pages import Page
from pipeline.agents import examples
from pipeline.agents.agents import LLMAgents
from pipeline.agents.examples import stored_pools
from pipeline.agents.model_choice import choose_model
from pipeline.config import POPULATION, RunConfig
from pipeline.errors import UsageError
from pipeline.parallel import ray_cluster
from pipeline.parallel.interrupts import run_async
from pipeline.simulation.loop import Simulation
from pipeline.simulation.records import program_rows, run_row
from pipeline.simulation.restore import restore
from pipeline.store.columns import Reader
from pipeline.store.run_lookup import config_of, find_run, recorded_calls, years_played
from pipeline.store.writer import Store

NOT_FORKABLE = (*POPULATION, "archetypes", "archetype_samples")
"""Settings that a fork shares with its parent: the people, the economy they live in, and who is asked for others."""


def fork(
    run: str,
    db: str,
    at: int,
    settings: Mapping[str, Any],
    console: Console,
    allowed: Allowed = NOTHING,
    page: Page | None = None,
) -> int:
    """Branch a counterfactual that shares the years before `at`, and compare both branches."""
    for name in settings:
        if name in NOT_FORKABLE:
            raise UsageError(
                f"--{name.replace('_', '-')} cannot change in a fork: both branches have the same people and economy"
            )
    with Store(db, serve=True) as store:
        parent = find_run(store, run)
        parent_id, played = int(parent["run_id"]), years_played(store, int(parent["run_id"]))
        if not 0 < at <= played:
            raise UsageError(f"--at {at}: run {parent_id} has years 0 to {played - 1}; fork at one of 1 to {played}")
        stored = config_of(parent)
        config = _forked(stored, {**settings, "db": db}, at)
        config = take(stored, settings, config, str(config.llm or parent["llm"] or ""), allowed, console)
        ray_cluster.require(config)
        model, why = choose_model(replace(config, llm=config.llm or parent["llm"]))
        console.print(f"Model: [bold]{escape(model)}[/bold] ({escape(why)})", highlight=False)
        world = restore(store, parent_id, config, at)
        tell_dollars(config, console)
        tell_shocks(world, console, since=at)
        cautions_told.tell(cautions_told.before(world, f"law of year {at}"), console)
        llm_agents = LLMAgents(config, model)
        llm_agents.learn(stored_pools(store, parent_id) or examples.pools(llm_agents.modules, config, store))
        run_async(llm_agents.preflight(year=at))
        run_id = store.start_fork(
            {**run_row(config, model), "parent_run_id": parent_id, "fork_year": at},
            program_rows(0, config, llm_agents.pools),
        )
        simulation = Simulation(
            config,
            store,
            llm_agents,
            run_id=run_id,
            world=world,
            start=at,
            recorded=lambda year: recorded_calls(store, parent_id, year),
        )
        code = play(simulation, console, page)
        console.print(compare_branches(store, parent_id, run_id, at))
        return code


def _forked(parent: RunConfig, settings: Mapping[str, Any], at: int) -> RunConfig:
    """The parent's settings overridden by those of the fork; its shocks come after the parent's."""
    new = valid(overridden(parent, {"shock": (), "name": f"{parent.name}-fork{at}", **settings}))
    for shock in new.shocks:
        if shock.first < at:
            raise UsageError(
                f"--shock {shock.text!r}: the years before {at} are the parent's; expected year={at} or later"
            )
    # On other brackets there is no law left that a shock has changed.
    gone = {
        s.text for s in parent.shocks if s.target == "rates" and s.first < at and new.thresholds != parent.thresholds
    }
    return valid({**vars(new), "shock": (*(text for text in parent.shock if text not in gone), *new.shock)})


BRANCHES = """
SELECT run_id AS run, count(*) AS years, avg(welfare) AS mean_welfare, arg_max(welfare, year) AS last_welfare,
       arg_max(welfare_best_response, year) AS last_best_response, avg(mean_labor) AS mean_hours,
       avg(gini) AS mean_gini, avg(rebate) AS mean_rebate, arg_max(rates, year) AS last_rates
FROM years WHERE run_id IN (?, ?) AND year >= ? GROUP BY run_id ORDER BY run_id
"""


def compare_branches(reader: Reader, parent: int, child: int, at: int) -> Table:
    """Both branches from the fork on, one row each."""
    rows = reader.rows(BRANCHES, [parent, child, at])
    names = [name for name in rows[0] if name != "run"] if rows else []
    cells = ([name.replace("_", " "), *(plain(row[name]) for row in rows)] for name in names)
    head = ["", *(f"run {row['run']}" for row in rows)]
    return rich_table(head, cells, title=f"Both branches from year {at} on", framed=True)
