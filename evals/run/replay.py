"""`llm-economist replay`: play a stored run again from its stored replies, and compare every row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evals.output.console import Console
from evals.run.permissions import NOTHING, Allowed
from pipeline.agents.agents import LLMAgents
from pipeline.agents.examples import stored_pools
from pipeline.code_version import code_version
from pipeline.config import RunConfig
from pipeline.errors import EconomistError
from pipeline.parallel.interrupts import run_async
from pipeline.simulation.loop import play_year
from pipeline.simulation.records import decision_columns, platform_rows, vote_rows, year_row
from pipeline.simulation.restore import restore
from pipeline.store.call_rows import Recorded
from pipeline.store.columns import Columns, Reader, Row, nulls
from pipeline.store.older_schema import OF_DECISIONS, YARDSTICKS
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import config_of, find_run, recorded_calls, years_played

SAME = 1e-9
"""Relative tolerance for the figures of a run from other code, which were converted."""


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
                f"run {run_id} was played by llm-economist {there} and this version, {here}, "
                f"gives a different result; replay it with the version that played it ({error})"
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
