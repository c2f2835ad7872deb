"""Resume, replay and fork stored runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from evals.cautions import messages as cautions_told
from evals.output.console import Console
from evals.run.command import choose_model, play, tell_shocks
from evals.run.dollars import tell_dollars
from evals.run.permissions import NOTHING, Allowed, take
from evals.sql.command import cell
from pipeline.agents import examples
from pipeline.agents.agents import LLMAgents, Usage
from pipeline.agents.examples import stored_pools
from pipeline.code_version import code_version
from pipeline.config import PLACEMENT, RunConfig, build
from pipeline.errors import EconomistError, UsageError
from pipeline.parallel import ray_cluster
from pipeline.parallel.interrupts import run_async
from pipeline.simulation.loop import Simulation, play_year
from pipeline.simulation.records import decision_columns, platform_rows, program_rows, run_row, vote_rows, year_row
from pipeline.simulation.restore import restore
from pipeline.store.call_rows import INTERVIEW, Recorded
from pipeline.store.columns import Columns, Reader, Row, nulls
from pipeline.store.incoming_calls import TOTALS
from pipeline.store.older_schema import OF_DECISIONS, YARDSTICKS
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import config_of, find_run, known_calls, recorded_calls, years_played
from pipeline.store.writer import Store

NOT_FORKABLE = (
    "scenario",
    "num_agents",
    "agent_mix",
    "min_wage",
    "dollars_of",
    "worker_type",
    "economy",
    "percent_ego",
    "percent_alt",
    "percent_adv",
    "archetypes",
    "archetype_samples",
)
"""Settings that a fork shares with its parent: the people, and the economy they live in."""


SAME = 1e-9
"""Relative tolerance for the figures of a run from other code, which were converted."""


def resume(run: str, db: str, settings: Mapping[str, Any], console: Console, allowed: Allowed = NOTHING) -> int:
    """Resume a run that was killed, interrupted, stopped or failed; no stored reply is paid for again."""
    with Store(db, serve=True) as store:
        row = find_run(store, run)
        run_id, stored = int(row["run_id"]), config_of(row)
        built = _built({**_moved(stored, settings), "db": db})
        config = take(stored, settings, built, str(row["llm"]), allowed, console)
        ray_cluster.require(config)
        simulation = take_up(store, row, config)
        if simulation is None:
            if row["status"] == "finished":
                years = years_played(store, run_id)
                raise UsageError(f"run {run_id} has all of its {years} years; there is nothing to resume (try `fork`)")
            console.print(f"Run {run_id} had all of its {config.max_timesteps} years; it is finished now.")
            return 0
        stored_calls = chain.from_iterable(simulation.recorded(simulation.start).values())
        known = sum(call.run_id == run_id for call in stored_calls)
        console.print(
            f"Run {run_id} goes on with year {simulation.start}; {known} stored calls of that year are used again."
        )
        return play(simulation, console)


def take_up(store: Store, row: Row, config: RunConfig) -> Simulation | None:
    """The simulation that resumes a run after its last complete year, without paying for a stored reply again.

    None if all of its years are stored: the run was interrupted just before its end and is now marked as finished.
    """
    run_id, start = int(row["run_id"]), years_played(store, int(row["run_id"]))
    if start >= config.max_timesteps:
        if row["status"] != "finished":
            store.finish_run(run_id, "finished")
        return None
    recorded = known_calls(store, row, start)
    llm_agents = LLMAgents(config, row["llm"], usage=usage_so_far(store, run_id))
    llm_agents.learn(stored_pools(store, run_id))
    llm_agents.enter(run_id)
    earlier = recorded.pop((start, "Preflight", None), [])
    run_async(llm_agents.preflight(year=start, earlier=earlier))
    return Simulation(
        config,
        store,
        llm_agents,
        run_id=run_id,
        world=restore(store, run_id, config, start),
        start=start,
        recorded=lambda year: recorded if year == start else known_calls(store, row, year),
        fallbacks=int(store.one("SELECT count(*) FROM decisions WHERE run_id = ? AND fallback", [run_id])),
    )


def usage_so_far(reader: Reader, run_id: int) -> Usage:
    """The usage of a run, from its stored calls."""
    query = f"SELECT {TOTALS} FROM lm_calls WHERE run_id = ? AND signature <> ?"
    return Usage(**reader.rows(query, [run_id, INTERVIEW])[0])


def fork(run: str, db: str, at: int, settings: Mapping[str, Any], console: Console, allowed: Allowed = NOTHING) -> int:
    """Branch a counterfactual that shares the years before `at`, and compare both branches."""
    for name in settings:
        if name in NOT_FORKABLE:
            raise UsageError(f"--{name.replace('_', '-')} can't change in a fork: both branches have the same people")
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
        llm_agents.learn(stored_pools(store, parent_id) or examples.pools(llm_agents.modules, config))
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
        code = play(simulation, console)
        console.print(compare_branches(store, parent_id, run_id, at))
        return code


def _forked(parent: RunConfig, settings: Mapping[str, Any], at: int) -> RunConfig:
    """The parent's settings overridden by those of the fork; its shocks come after the parent's."""
    new = _built(_moved(parent, {"shock": (), "name": f"{parent.name}-fork{at}", **settings}))
    for shock in new.shocks:
        if shock.first < at:
            raise UsageError(
                f"--shock {shock.text!r}: the years before {at} are the parent's; expected year={at} or later"
            )
    # On other brackets there is no law left that a shock has changed.
    gone = {s.text for s in parent.shocks if s.target == "rates" and s.first < at and new.brackets != parent.brackets}
    return _built({**vars(new), "shock": (*(text for text in parent.shock if text not in gone), *new.shock)})


def _moved(stored: RunConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings overridden by new ones. The settings on where to ask change together or not at all."""
    usual = {name: getattr(RunConfig(), name) for name in PLACEMENT} if settings.keys() & set(PLACEMENT) else {}
    return {**vars(stored), **usual, **settings}


def _built(settings: Mapping[str, Any]) -> RunConfig:
    try:
        return build(settings)
    except ValueError as error:
        raise UsageError(str(error)) from error


BRANCHES = """
SELECT run_id AS run, count(*) AS years, avg(welfare) AS mean_welfare, arg_max(welfare, year) AS last_welfare,
       arg_max(welfare_best_response, year) AS last_best_response, avg(mean_labor) AS mean_hours,
       avg(gini) AS mean_gini, avg(rebate) AS mean_rebate, arg_max(rates, year) AS last_rates
FROM years WHERE run_id IN (?, ?) AND year >= ? GROUP BY run_id ORDER BY run_id
"""


def compare_branches(reader: Reader, parent: int, child: int, at: int) -> Table:
    """Both branches from the fork on, one row each."""
    rows = reader.rows(BRANCHES, [parent, child, at])
    table = Table(title=f"Both branches from year {at} on", title_justify="left")
    table.add_column("")
    for row in rows:
        table.add_column(f"run {row['run']}", justify="right")
    for name in [name for name in rows[0] if name != "run"] if rows else []:
        table.add_row(name.replace("_", " "), *(cell(row[name]) for row in rows))
    return table


def replay(run: str, db: str, console: Console, allowed: Allowed = NOTHING) -> int:
    """Play a run again from its stored replies, without a model, and compare every row; 1 if one differs."""
    with ReadOnlyStore(db) as reader:
        row = find_run(reader, run)
        run_id, played = int(row["run_id"]), years_played(reader, int(row["run_id"]))
        config = replace(config_of(row), db=db, given=allowed.names)
        start = int(row["fork_year"] or 0)
        llm_agents = LLMAgents(config, row["llm"], run_id=run_id, offline=True)
        llm_agents.learn(stored_pools(reader, run_id))
        here, there = code_version(), row["code_version"]
        try:
            checked = run_async(
                _replay(reader, config, llm_agents, run_id, start, played, row["parent_run_id"], exactly=here == there)
            )
        except EconomistError as error:
            if here == there:
                raise
            raise EconomistError(
                f"run {run_id} was played by llm-economist {there} and comes out otherwise in this one, {here}: "
                f"replay it with the one that played it ({error})"
            ) from error
    console.print(
        f"Run {run_id}: years {start} to {played - 1} replayed from {checked} stored calls; every row is the same."
    )
    return 0


async def _replay(
    reader: Reader,
    config: RunConfig,
    llm_agents: LLMAgents,
    run_id: int,
    start: int,
    played: int,
    parent: int | None,
    *,
    exactly: bool,
) -> int:
    within = 0.0 if exactly else SAME
    world, used = restore(reader, run_id, config, start), 0
    for year in range(start, played):
        recorded = recorded_calls(reader, run_id, year)
        if parent is not None:
            recorded = _with_parents(recorded, recorded_calls(reader, parent, year))
        llm_agents.recorded = recorded
        used += sum(map(len, recorded.values()))
        again = await play_year(world, llm_agents, year)
        key = {"run_id": run_id, "year": year}
        _same_decisions(reader, key, decision_columns(key, world, again), within)
        _same(reader, "votes", key, vote_rows(key, again), "voter", within)
        _same(reader, "platforms", key, platform_rows(key, again), "candidate", within)
        _same(reader, "years", key, [year_row(key, world, again)], "year", within)
    return used


def _with_parents(own: Recorded, parents: Recorded) -> Recorded:
    """A fork's calls, and its parent's for questions that the fork did not need to ask."""
    return {**parents, **own}


def _same_decisions(reader: Reader, key: Row, again: Columns, within: float) -> None:
    """Like `_same`, column by column: there may be millions of decisions."""
    query = "SELECT * FROM decisions WHERE run_id = ? AND year = ? ORDER BY agent"
    stored = reader.columns(query, list(key.values()))
    where, agents = f"decisions of run {key['run_id']}, year {key['year']}", again["agent"]
    if len(stored["agent"]) != len(agents):
        raise EconomistError(f"replay differs: {where} has {len(stored['agent'])} rows, the replay {len(agents)}")
    for column, new in again.items():
        # a file of an earlier version lacks columns that are NULL there
        old = stored.get(column, nulls(len(agents)))
        gone, lost = np.ma.getmaskarray(new), np.ma.getmaskarray(old)
        if column in OF_DECISIONS and lost.all():
            continue  # `eval` has not computed them yet
        value, was = np.ma.getdata(new), np.ma.getdata(old)
        nan = (value != value) & (was != was)
        same = value == was
        if within and value.dtype.kind == "f":
            same |= np.isclose(value, was, rtol=within, atol=0)
        differs = (gone != lost) | ~(gone | lost | nan | same)
        if differs.any():
            i = int(np.argmax(differs))
            one, other = (None if absent[i] else x[i].item() for absent, x in ((gone, value), (lost, was)))
            raise EconomistError(
                f"replay differs: {where}, agent {agents[i]}: {column} is {one!r}, stored is {other!r}"
            )


def _same(reader: Reader, table: str, key: Row, again: Sequence[Row], order: str, within: float) -> None:
    """Raise EconomistError with the first value that differs from the stored one by more than `within`."""
    stored = reader.rows(f"SELECT * FROM {table} WHERE run_id = ? AND year = ? ORDER BY {order}", list(key.values()))
    where = f"{table} of run {key['run_id']}, year {key['year']}"
    if len(stored) != len(again):
        raise EconomistError(f"replay differs: {where} has {len(stored)} rows, the replay {len(again)}")
    for old, new in zip(stored, again, strict=True):
        for column, value in new.items():
            was = old.get(column)  # a file of an earlier version lacks columns that are NULL there
            if was is None and column in YARDSTICKS:
                continue  # `eval` has not computed them yet
            if was != value and not (was != was and value != value) and not _close(was, value, within):
                raise EconomistError(
                    f"replay differs: {where}, {order} {new[order]}: {column} is {value!r}, stored is {was!r}"
                )


def _close(one: object, other: object, within: float) -> bool:
    return isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=within)
