"""Estimate a sweep: calls, tokens, dollars and time of the missing runs, by arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from evals.output.console import Console
from evals.output.number_format import between, dollars_between, duration
from evals.output.tables import rich_table
from evals.run.dry_run import Forecast, forecast
from evals.sweep.cells import Cell, Plan
from evals.sweep.sweep import Sweep, population
from pipeline.errors import UsageError

Span = tuple[float, float]

WIDTH = 110
"""Width of the table if there is no terminal."""


@dataclass(frozen=True)
class Outlook:
    """The estimate for the runs of one arm: low and high. `cost_usd` is None without a price.

    `wall_seconds`: of these runs in sequence. `repairs_usd`: the extra cost if every reply needs repairs.
    """

    arm: str
    model: str
    there: int
    to_play: int
    calls: Span
    tokens: Span
    cost_usd: Span | None
    repairs_usd: float | None
    wall_seconds: Span


def outlook(sweep: Sweep, *, latency: float) -> list[Outlook]:
    """The remaining cost by arm; interrupted runs count with their missing years. Calls and writes nothing.

    The first missing run of an arm represents the others: they differ only in their seed.
    """
    found = sweep.plan(shards_too=True)
    missing = found.missing(sweep.cells)
    first_of = {population(cell): cell.key for cell in reversed(missing)}
    made = []
    for arm in dict.fromkeys(cell.arm for cell in sweep.cells):
        own = [cell for cell in missing if cell.arm == arm]
        there = sum(cell.arm == arm for cell in sweep.cells) - len(own)
        writes = bool(own) and first_of[population(own[0])] == own[0].key
        made.append(_outlook(arm, there, own, found, forecast_of(own[0], latency, writes) if own else None))
    return made


def forecast_of(cell: Cell, latency: float, writes: bool) -> Forecast:
    """The estimate for one run; a run that does not write the personas finds them in the database."""
    known = Path(cell.config.db).exists() or not writes
    try:
        return forecast(cell.config, cell.model, latency, personas_known=known)
    except UsageError as error:
        raise UsageError(f"{cell.arm}: {error}") from error


def _outlook(arm: str, there: int, own: list[Cell], found: Plan, made: Forecast | None) -> Outlook:
    if made is None:
        return Outlook(arm, "", there, 0, (0, 0), (0, 0), (0.0, 0.0), 0.0, (0.0, 0.0))
    runs = sum(1 - found.years.get(cell.key, 0) / cell.config.max_timesteps for cell in own)
    cost, repairs = made.total.cost_usd(made.price), made.repairs.cost_usd(made.price)
    return Outlook(
        arm=arm,
        model=made.model,
        there=there,
        to_play=len(own),
        calls=_times(runs, made.total.calls),
        tokens=_times(runs, made.total.tokens),
        cost_usd=None if cost is None else _times(runs, cost),
        repairs_usd=None if repairs is None else runs * repairs[1],
        wall_seconds=_times(runs, made.wall_seconds),
    )


def _times(runs: float, one: Span) -> Span:
    return runs * one[0], runs * one[1]


def _total(made: list[Outlook]) -> dict[str, Any]:
    costs = [one.cost_usd for one in made]
    repairs = [one.repairs_usd for one in made]
    return {
        "there": sum(one.there for one in made),
        "to_play": sum(one.to_play for one in made),
        "calls": _sum([one.calls for one in made]),
        "tokens": _sum([one.tokens for one in made]),
        "cost_usd": None if None in costs else _sum([cost for cost in costs if cost is not None]),
        "repairs_usd": None if None in repairs else sum(cost for cost in repairs if cost is not None),
    }


def _sum(spans: list[Span]) -> Span:
    return sum(low for low, _ in spans), sum(high for _, high in spans)


def as_json(made: list[Outlook], *, parallel: int) -> dict[str, Any]:
    """The forecast as plain data."""
    total = {**_total(made), "wall_seconds": _wall(made, parallel)}
    return {"arms": [vars(one) for one in made], "total": total}


def _wall(made: list[Outlook], parallel: int) -> Span:
    low, high = _sum([one.wall_seconds for one in made])
    at_once = max(1, min(parallel, sum(one.to_play for one in made)))
    return low / at_once, high / at_once


def print_outlook(made: list[Outlook], console: Console, *, parallel: int, latency: float) -> None:
    """One row per arm, and the total."""
    console.widen(WIDTH)
    total = _total(made)
    rows = map(_cells, [*map(vars, made), {**total, "arm": "total"}])
    console.print(rich_table(["arm", "cached", "to play", "calls", "tokens", "dollars"], rows))
    low, high = _wall(made, parallel)
    notes = [
        f"Nothing was called or written. Time: {duration(low)} to {duration(high)} at {latency:g} s per answer "
        f"(--latency), {parallel} concurrent runs (--parallel).",
        "Low: prompts without memory, shortest replies. High: full memories, every reply at its maximum length.",
    ]
    if total["repairs_usd"]:
        notes.append(f"Repairs: up to {total['repairs_usd']:,.4f} dollars more, if no reply parses at first.")
    for note in notes:
        console.print(Text(note), soft_wrap=True)


def _cells(row: Mapping[str, Any]) -> list[str]:
    calls, tokens = (between((round(row[name][0]), round(row[name][1]))) for name in ("calls", "tokens"))
    return [row["arm"], str(row["there"]), str(row["to_play"]), calls, tokens, dollars_between(row["cost_usd"])]
