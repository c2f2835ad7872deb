"""`llm-economist watch`: show live runs, as their processes report them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.table import Table

from evals.output.console import Console
from evals.output.tables import rich_table
from pipeline.errors import StoreError
from pipeline.printed_commands import command
from pipeline.store import shards, snapshots

COLUMNS = ("run", "name", "year", "welfare", "calls", "tokens", "cost", "file", "process")


def watch(db: str, console: Console, *, once: bool, interval: float) -> None:
    """Show the runs of a database and its shards until none is live; on a terminal, as a table that updates itself."""
    states = live_runs(db)
    if not states:
        console.print(f"No run is live in {db} or its shards.", highlight=False, markup=False)
    elif console.is_terminal and not once:
        with Live(_table(states), console=console, auto_refresh=False) as display:
            while states := _next(db, interval):
                display.update(_table(states), refresh=True)
        console.print("The last run has ended.")
    else:
        _lines(db, states, console, once=once, interval=interval)
    _tell_cut_off(db, console)


def live_runs(db: str) -> list[dict[str, Any]]:
    """The state that each process writing this database or one of its shards reports."""
    main = shards.main_of(db)
    states = []
    for path in (main, *shards.shards_of(main)):
        if not os.path.exists(snapshots.socket_path(path)):
            continue
        try:
            states.append({**snapshots.status(path), "path": path})
        except StoreError:
            continue  # it has ended, or was killed and left its socket
    return states


def _next(db: str, interval: float) -> list[dict[str, Any]]:
    time.sleep(interval)
    return live_runs(db)


def _lines(db: str, states: list[dict[str, Any]], console: Console, *, once: bool, interval: float) -> None:
    """Print one line for every run that has advanced since its last line."""
    told: dict[str, str] = {}
    while states:
        for state in states:
            now = line(state)
            if told.get(state["path"]) != now:
                told[state["path"]] = now
                console.print(now, highlight=False, markup=False, soft_wrap=True)
        if once:
            return
        states = _next(db, interval)
    console.print("The last run has ended.")


def line(state: dict[str, Any]) -> str:
    """One run in one line."""
    cell = _cells(state)
    return (
        f"run {cell['run']} ({cell['name']}): year {cell['year']}, welfare {cell['welfare']}, {cell['calls']} calls, "
        f"{cell['tokens']} tokens, {cell['cost']}, {cell['file']} (PID {cell['process']})"
    )


def _cells(state: dict[str, Any]) -> dict[str, str]:
    """The cells of one run; `-` for values that are unknown before its first year ends."""

    def shown(name: str, form: str) -> str:
        return format(state[name], form) if state.get(name) is not None else "-"

    values = (
        shown("run_id", "d"),
        str(state.get("name") or "-"),
        f"{state.get('year', 0)}/{state.get('years', '?')}",
        shown("welfare", ".5g"),
        shown("calls", ",d"),
        shown("tokens", ",d"),
        "$" + shown("cost_usd", ".4f"),
        Path(state["path"]).name,
        str(state.get("pid", "?")),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _table(states: list[dict[str, Any]]) -> Table:
    return rich_table(COLUMNS, (_cells(state).values() for state in states), left=range(len(COLUMNS)), framed=True)


def _tell_cut_off(db: str, console: Console) -> None:
    """Print the shards with interrupted runs that no process is resuming."""
    for shard in shards.shards_of(shards.main_of(db)):
        for row in shards.runs_of(shard) or ():
            if row["status"] != "finished":
                console.print(
                    f"{Path(shard).name} holds run {row['run_id']} ({row['name']}), status {row['status']}; resume it: "
                    f"{command('resume', row['run_id'], '--db', shard)}",
                    highlight=False,
                    markup=False,
                    soft_wrap=True,
                )
